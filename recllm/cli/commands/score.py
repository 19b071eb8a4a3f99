"""`recllm score`: predictions of another project, and figures that cannot be."""

from pathlib import Path

import click
import numpy as np

from recllm.errors import UserError
from recllm.metrics import bootstrap_interval, compute, contradictions, parse

RESAMPLES = 1000


@click.group()
def score() -> None:
    """Score what other projects predicted or published."""


@score.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--info",
    type=click.Path(path_type=Path),
    help="MiniOneRec's info file: counts predictions that are no item.",
)
def predictions(file: Path, info: Path | None) -> None:
    """hit@k and ndcg@k of FILE, the JSON that MiniOneRec's evaluation writes.

    SIDs are compared, as its calc.py does; intervals are by bootstrap over rows, since the file
    names no users.
    """
    from recllm.eval.peer_predictions import PeerPredictions

    found = PeerPredictions.read(file, info)
    rows = len(found.ranks)
    told = "" if found.unknown is None else f", {found.unknown:,} of them no SID of {info}"
    click.echo(f"{rows:,} rows, at least {found.width} predictions each{told}; [95% interval]")
    for cutoff in found.cutoffs:
        for name in (f"hit@{cutoff}", f"ndcg@{cutoff}"):
            values = compute(name, found.ranks)
            low, high = bootstrap_interval(values, np.arange(rows), RESAMPLES, seed=0)
            click.echo(f"{name:8} {values.mean():.4f} [{low:.4f}, {high:.4f}]")


@score.command()
@click.argument("figures", nargs=-1, required=True, metavar="METRIC=VALUE...")
def check(figures: tuple[str, ...]) -> None:
    """Say whether a ranking can have FIGURES, such as hit@10=0.0605 ndcg@10=0.0318.

    For tables of one target a row: hit and ndcg bound each other. Each figure may be rounded in
    its last decimal.
    """
    values: dict[str, float] = {}
    rounding: dict[str, float] = {}
    for figure in figures:
        name, _, text = figure.partition("=")
        parse(name)
        try:
            values[name] = float(text)
        except ValueError:
            raise UserError(f"expected a figure such as {name}=0.0605, found {figure!r}") from None
        rounding[name] = 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9
    if len(values) < len(figures):
        raise UserError("expected each metric once, found one twice")
    found = contradictions(values, rounding)
    for line in found:
        click.echo(f"impossible: {line}")
    if not found:
        click.echo("these figures do not contradict each other")
