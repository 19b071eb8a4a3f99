"""`recllm data`: what a log is like, before anything is trained on it."""

import json
from typing import Any

import click

from recllm.artifacts.cache import Artifact
from recllm.cli import pipeline
from recllm.cli.statistics_table import statistics_table
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe

COUNTED = ("ingest", "filter", "split")
SPLITS = ("train", "valid", "test")


@click.group()
def data() -> None:
    """Look at a recipe's data."""


@data.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Figures of RECIPE's log and split, and the floors that a model must beat.

    Runs the stages that it needs: ingest, filter, split and baselines.
    """
    loaded = load_recipe(recipe, overrides)
    statistics = gather(loaded, pipeline.run(loaded, "baselines"))
    if as_json:
        click.echo(json.dumps(statistics, indent=2, allow_nan=False))
    else:
        click.echo(statistics_table(statistics))


def gather(recipe: Recipe, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """What `recllm data stats` prints.

    Returns:
        `log`: see `recllm.data_prep.statistics`, with `order_only`, under which the log has no
        times; `split`: its name, the rows of each split, and the shares of the targets that are
        cold; `leaks` of the split and the counts of `repeated_targets`; `counts`: what each
        stage read, kept and dropped; `floors`: by split, baseline and metric.
    """
    from recllm.catalog.histories import Sequences, SplitRows, read_moments
    from recllm.data_prep.statistics import describe_log
    from recllm.eval.floors import find_floors
    from recllm.prompts.leaks import count_repeats, find_leaks

    counts = {name: artifacts[name].manifest.counts for name in COUNTED}
    filtered, split = artifacts["filter"].path, artifacts["split"].path
    order_only = bool(counts["ingest"].get("order_only"))
    log = describe_log(filtered) | {"order_only": order_only}
    if order_only:
        log |= {"first_time": None, "last_time": None}
    sequences = Sequences.read(split)
    rows = {name: SplitRows.read(split, name, sequences) for name in SPLITS}
    times = read_moments(filtered, sequences.rows, recipe.data.split.global_cut)
    sizes = {name: counts["split"][name] for name in SPLITS}
    cold = {
        f"{name}_cold_share": counts["split"][f"cold_targets_{name}"] / sizes[name]
        for name in SPLITS[1:]
    }
    return {
        "log": log,
        "split": {"name": recipe.data.split.name, **sizes, **cold},
        "leaks": [vars(leak) for leak in find_leaks(sequences, rows, times)],
        "repeated_targets": {name: count_repeats(found) for name, found in rows.items()},
        "counts": counts,
        "floors": find_floors(split, artifacts["baselines"].path, recipe.eval, recipe.seed),
    }
