"""`recllm sid`: the paths by which a model names its items."""

from pathlib import Path

import click

from recllm.cli.extension import Extended, extend_run
from recllm.cli.run_folder import EXTENDED

#: What is counted, in words; what else is counted is said by its name, where it is not 0.
COUNTS = {
    "known": "in the catalogue already",
    "moved": "moved to tell them apart",
    "titled_by_id": "without a title",
}


@click.group()
def sid() -> None:
    """Work with the SIDs of a run's items."""


@sid.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--items",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    help="CSV, TSV, JSON lines or Parquet, with the columns of the recipe's items file.",
)
def extend(run: Path, file: Path) -> None:
    """Let the model of RUN recommend new items, without training.

    Items of FILE that the catalogue lacks get SIDs from the run's encoder and codebooks as they
    are; all others keep theirs. RUN/extended becomes the model with the larger catalogue, RUN/model
    stays what it is. Called again, it adds to what RUN/extended has.
    """
    extended = extend_run(run, file)
    new = extended.counts["items"]
    if not new:
        click.echo(f"nothing is new in {file}, nothing was written: {_told(extended)}")
        return
    click.echo(f"{new:,} new items: {_told(extended)}")
    click.echo(f"{run / EXTENDED}: the model of {run} with a catalogue of {extended.items:,} items")
    click.echo(f"try: recllm recommend {run / EXTENDED} --history ITEM_ID,ITEM_ID")


def _told(extended: Extended) -> str:
    counts = extended.counts
    told = [f"{counts[name]:,} {words}" for name, words in COUNTS.items() if name in counts]
    others = {n: c for n, c in counts.items() if c and n not in (*COUNTS, "items")}
    return ", ".join(told + [f"{name.replace('_', ' ')} {c:,}" for name, c in others.items()])
