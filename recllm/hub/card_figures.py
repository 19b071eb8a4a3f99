"""What a card shows of a model's data, training and evaluation; nothing where it is not known."""

from collections.abc import Iterator, Mapping
from typing import Any

from recllm.config.schema import Recipe
from recllm.hub.provenance import Provenance
from recllm.results.estimates import display_name, read_estimates, sort_metrics
from recllm.results.figures import log_figures
from recllm.results.formats import number, quantity, words
from recllm.results.tables import Cell, Table, best_of, estimate_cell

#: Names and values, one row each.
Rows = list[tuple[str, str]]

#: The metrics that the card is about, where they were measured.
HEADLINE = ("hit@5", "hit@10", "ndcg@5", "ndcg@10", "auc")
#: Of the log's figures, those that tell a stranger what kind of log it is.
_LOG = ("users", "items", "interactions", "density", "repeat_rate", "first time", "last time")
_ORDER_ONLY = "time"


def headline_metrics(metrics: Mapping[str, Any]) -> list[str]:
    """Which metrics the card shows: with other cutoffs than usual, all of them."""
    measured = sort_metrics(metrics["metrics"])
    return [name for name in HEADLINE if name in measured] or measured


def data_name(recipe: Recipe) -> str:
    """The log as people may know it: its source, and the file, folder or data set."""
    source = recipe.data.source
    where = getattr(source, "dataset", None) or getattr(source, "path", None)
    return source.name if where is None else f"{source.name}: {where}"


def data_rows(provenance: Provenance) -> Rows:
    """The log as filtered, and its split."""
    rows: Rows = []
    recipe = provenance.recipe
    if recipe is not None:
        rows += [("log", data_name(recipe)), ("kept of it", _filtered(recipe))]
    rows += [(words(name), quantity(name, value)) for name, value in _log(provenance).items()]
    if recipe is not None:
        rows.append(("split", recipe.data.split.name))
    if "split" in provenance.manifests:
        counts = provenance.manifests["split"].counts
        for name in ("train", "valid", "test"):
            cold = counts.get(f"cold_targets_{name}", 0)
            told = f", {number(cold)} of items without training interactions" if cold else ""
            rows.append((f"{name} rows", f"{number(counts[name])}{told}"))
    return rows


def _filtered(recipe: Recipe) -> str:
    user_k, item_k = recipe.data.core
    if max(user_k, item_k) < 2:
        return "all users and items"
    return f"users with at least {user_k} interactions, items with at least {item_k} (k-core)"


def _log(provenance: Provenance) -> dict[str, Any]:
    if provenance.statistics is not None:
        found = log_figures(provenance.statistics["log"])
        return {name: found[name] for name in (*_LOG, _ORDER_ONLY) if name in found}
    if "filter" not in provenance.manifests:
        return {}
    counts = provenance.manifests["filter"].counts
    return {name: counts[name] for name in _LOG if name in counts}


def training_rows(provenance: Provenance) -> Rows:
    """How the model was trained, on whatever machine."""
    recipe = provenance.recipe
    if recipe is None:
        return []
    told = f"{recipe.output_dir.name}: {recipe.description}".removesuffix(": ")
    rows: Rows = [
        ("recipe", told),
        ("items go by", _items(recipe)),
        ("weights trained", _tuning(recipe)),
    ]
    if recipe.rl is not None and recipe.rl.checkpoint is not None:
        rows.append(("fine-tuning", "another run's: reinforcement learning began from its model"))
    else:
        tasks = ", ".join(f"{share.task.name} {share.weight:g}" for share in recipe.sft.mix)
        rows.append(("fine-tuning", f"tasks by weight: {tasks}; targets: {recipe.sft.targets}"))
        rows += _steps(provenance, "sft", "fine-tuning took")
    if recipe.rl is not None:
        rewards = ", ".join(f"{s.reward.name} {s.weight:g}" for s in recipe.rl.reward_mix)
        told = f"{recipe.rl.algorithm}, {recipe.rl.generations} items a prompt, rewards by weight"
        rows.append(("reinforcement learning", f"{told}: {rewards}"))
        rows += _steps(provenance, "rl", "reinforcement learning took")
    return [*rows, ("seed", str(recipe.seed))]


def _items(recipe: Recipe) -> str:
    sid = recipe.sid
    if sid.quantizer.name == "title":
        return "their titles"
    if sid.quantizer.name == "import":
        return "semantic IDs that were given with the log"
    return f"semantic IDs by {sid.quantizer.name}, {sid.levels} levels of {sid.codes} codes"


def _tuning(recipe: Recipe) -> str:
    tuning, lora = recipe.model.tuning, recipe.model.lora
    rank = f", rank {lora.rank}, alpha {lora.alpha:g}" if lora else ""
    told = "all" if tuning == "full" else f"{tuning}{rank}"
    if recipe.rl is not None and recipe.rl.tuning == "lora":
        told += "; by LoRA in reinforcement learning"
    return told


def _steps(provenance: Provenance, stage: str, name: str) -> Iterator[tuple[str, str]]:
    if stage not in provenance.manifests:
        return
    manifest = provenance.manifests[stage]
    counts = manifest.counts
    parts = [f"{number(counts['steps'])} steps"]
    if counts.get("tokens"):
        parts.append(f"{number(counts['tokens'])} tokens")
    if counts.get("best_step"):
        parts.append(f"the best on validation after step {number(counts['best_step'])}")
    yield name, "; ".join([*parts, quantity("seconds", manifest.seconds)])


def evaluation_settings(metrics: Mapping[str, Any]) -> str:
    """What else decides the figures, as the recipe's section eval names it."""
    settings = metrics["settings"]
    named = {name: settings[name] for name in ("engine", "beams", "scoring") if name in settings}
    return ", ".join(f"{name} {value}" for name, value in named.items())


def evaluation_table(metrics: Mapping[str, Any]) -> Table:
    """The headline metrics of the model and of every baseline, with 95% intervals."""
    names = headline_metrics(metrics)
    recommenders = {
        name: read_estimates(found)
        for name, found in {"model": metrics["metrics"], **metrics["baselines"]}.items()
    }
    best = {name: best_of([found.get(name) for found in recommenders.values()]) for name in names}
    rows: list[list[Cell]] = []
    for recommender, found in recommenders.items():
        row = [Cell(display_name(recommender))]
        for name in names:
            estimate = found.get(name)
            leads = estimate is not None and estimate.value == best[name]
            row.append(estimate_cell(estimate, best=leads))
        rows.append(row)
    return Table(["", *names], rows)
