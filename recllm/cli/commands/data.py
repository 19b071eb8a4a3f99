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


@click.group()
def data() -> None:
    """Look at a recipe's data."""


@data.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Figures of RECIPE's log and split, and the floors that a model must beat.

    Runs the stages that it needs: ingest, filter, split, statistics and baselines.
    """
    loaded = load_recipe(recipe, overrides)
    artifacts = pipeline.run(loaded, "statistics") | pipeline.run(loaded, "baselines")
    statistics = gather(loaded, artifacts)
    if as_json:
        click.echo(json.dumps(statistics, indent=2, allow_nan=False))
    else:
        click.echo(statistics_table(statistics))


def gather(recipe: Recipe, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """What `recllm data stats` prints.

    Returns:
        What the stage `statistics` found; `counts`: what each stage read, kept and dropped;
        `floors`: by split, baseline and metric.
    """
    from recllm.eval.floors import find_floors

    found = json.loads((artifacts["statistics"].path / "statistics.json").read_text())
    split, baselines = artifacts["split"].path, artifacts["baselines"].path
    return found | {
        "counts": {name: artifacts[name].manifest.counts for name in COUNTED},
        "floors": find_floors(split, baselines, recipe.eval, recipe.seed),
    }
