"""The card of a recommender on the Hub: README.md with the metadata that the Hub reads."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import recllm
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex, read_index
from recllm.config.plugins import TASKS
from recllm.config.schema import Recipe
from recllm.hub import citations
from recllm.hub.base import PublishedBase
from recllm.hub.card_figures import (
    data_name,
    data_rows,
    evaluation_settings,
    evaluation_table,
    headline_metrics,
    training_rows,
)
from recllm.hub.card_limits import limits
from recllm.hub.provenance import Provenance
from recllm.models.checkpoint_files import ITEMS_FILE, SIDS_FILE, reading
from recllm.models.references import is_adapter
from recllm.results.formats import number
from recllm.results.headline import comparisons, protocol
from recllm.results.markdown import escape, table_lines

TEMPLATE = "card.md.j2"
#: How many titles show what kind of catalogue it is.
TITLES_SHOWN = 3
#: Item ids that stand in a command as they are.
_PLAIN_ID = re.compile(r"^[\w.:/-]+$")


def render_card(
    checkpoint: Path,
    provenance: Provenance,
    repo: str,
    base: PublishedBase | None,
) -> str:
    """The card as Markdown, behind the metadata as YAML.

    What is not known is said to be so, or left out. Titles and names are the user's and are shown
    as they are: nothing in them is read as Markdown, HTML or YAML.

    Args:
        checkpoint: a folder that `check_checkpoint` has not refused.
        provenance: with nothing private in it.
        repo: user/name.
        base: of an adapter, or that a whole model was fine-tuned from; without it, the provenance's
            is named, whose licence is not known.
    """
    with reading(checkpoint) as description:
        items = Items.read(checkpoint / ITEMS_FILE)
        has_sids = isinstance(read_index(checkpoint / SIDS_FILE), SidIndex)
        asked_by = str((description.get("asked_by") or {}).get("task", "seqrec"))
    recipe, metrics = provenance.recipe, provenance.metrics
    trained = provenance.manifests.get(recipe.trained_by) if recipe else None
    version = trained.code_version if trained else recllm.__version__
    works = citations.works_of(recipe, asked_by, has_sids)
    base_name = base.name if base else provenance.fine_tuned_from
    licence = base.licence if base else None
    adapter = is_adapter(checkpoint)
    metadata = ModelCardData(
        library_name="recllm",
        license=licence,
        tags=_tags(recipe, has_sids),
        **_relations(recipe, base_name, adapter),
        **(_evaluation(recipe, metrics, repo) if metrics else {}),
    )
    context = {
        "metadata": metadata.to_yaml(),
        "repo": repo,
        "name": repo.rpartition("/")[2],
        "base": base_name,
        "licence": licence,
        "commit_of_base": base.revision if base and adapter else None,
        "tuning": description.get("tuning"),
        "scratch": recipe.model.from_scratch if recipe else None,
        "parameters": trained.counts.get("parameters") if trained else None,
        "items": len(items),
        "titles": list(dict.fromkeys(items.titles))[:TITLES_SHOWN],
        "verdicts": TASKS.load(asked_by).verdicts,
        "history": _example_history(items),
        "data": data_rows(provenance),
        "training": training_rows(provenance),
        "needs_data": recipe is not None and getattr(recipe.data.source, "path", None) is not None,
        "version": version,
        "commit": trained.commit if trained else None,
        "works": works,
        "bibtex": [*(work.bibtex() for work in works), citations.software(version)],
        **_told_of(metrics),
    }
    return _render(context)


def _told_of(metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the template shows of an evaluation, or that there is none."""
    if not metrics:
        return {"evaluation": None, "limits": []}
    return {
        "protocol": protocol(metrics),
        "settings": evaluation_settings(metrics),
        "evaluation": evaluation_table(metrics),
        "comparisons": list(comparisons(metrics)),
        "limits": list(limits(metrics)),
    }


def _example_history(items: Items) -> list[str]:
    """Two ids of the catalogue, such as can stand in a command; fewer where there are none."""
    return [item_id for item_id in items.ids if _PLAIN_ID.match(item_id)][:2]


def _tags(recipe: Recipe | None, has_sids: bool) -> list[str]:
    tags = ["recommender-system", "sequential-recommendation"]
    if has_sids:
        tags += ["semantic-ids", "generative-retrieval"]
    if recipe is not None:
        tags += ["reinforcement-learning"] if recipe.rl else []
        tags.append(plain(recipe.output_dir.name))
    return tags


def _relations(recipe: Recipe | None, base: str | None, adapter: bool) -> dict[str, Any]:
    """What on the Hub the model was made from."""
    found: dict[str, Any] = {}
    if base is not None:
        relation = "adapter" if adapter else "finetune"
        found |= {"base_model": base, "base_model_relation": relation}
    if recipe is not None and (dataset := getattr(recipe.data.source, "dataset", None)):
        found["datasets"] = [dataset]
    return found


def _evaluation(recipe: Recipe | None, metrics: Mapping[str, Any], repo: str) -> dict[str, Any]:
    return {"model_name": repo, "eval_results": list(_eval_results(recipe, metrics))}


def _eval_results(recipe: Recipe | None, metrics: Mapping[str, Any]) -> Iterator[EvalResult]:
    """The headline metrics, each with the interval and what decides it beside the data."""
    source = recipe.data.source.name if recipe else "unknown"
    verdicts = "answers" in metrics
    excluded = metrics["settings"].get("exclude_history")
    for name in headline_metrics(metrics):
        found = metrics["metrics"][name]
        yield EvalResult(
            task_type="recommendation",
            task_name="Preference prediction" if verdicts else "Sequential recommendation",
            dataset_type=source,
            dataset_name=plain(data_name(recipe)) if recipe else "unknown",
            dataset_split=metrics["split"],
            metric_type=name,
            metric_name=name,
            metric_value=found["value"],
            metric_args={
                "ci95": found["ci95"],
                "rows": metrics["rows"],
                **({} if excluded is None else {"exclude_history": excluded}),
            },
        )


def plain(text: str) -> str:
    """A user's text on one line, of what a file in UTF-8 can hold."""
    return " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")


def _render(context: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown: the filter md escapes what is the user's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "md": escape,
        "table_lines": table_lines,
        "number": number,
    }
    text = environment.get_template(TEMPLATE).render(context)
    # A title may hold half of a surrogate pair, which no file in UTF-8 can.
    return text.encode("utf-8", "replace").decode("utf-8")
