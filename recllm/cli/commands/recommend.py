"""`recllm recommend`: what a trained recommender would show a user."""

from pathlib import Path

import click

from recllm.cli.run_folder import EXTENDED
from recllm.errors import UserError

#: As wide a search as evaluation's, even for a short list: a narrow one finds worse items.
BEAMS = 50


@click.command()
@click.argument("run")
@click.option("--history", required=True, metavar="ITEM_ID,…", help="Item ids, oldest first.")
@click.option("-k", "count", default=10, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--exclude-history/--include-history",
    default=None,
    help="Whether items of the history may be recommended; by default as the run did it.",
)
def recommend(run: str, history: str, count: int, exclude_history: bool | None) -> None:
    """Print the top items for a history. RUN is a run's folder or a checkpoint's."""
    item_ids = [part.strip() for part in history.split(",") if part.strip()]
    if not item_ids:
        raise UserError("--history: expected at least one item id, found none")
    folder = _checkpoint(Path(run))
    from recllm.models.recommender import Recommender

    recommender = Recommender.load(folder)
    items = recommender.items
    indices = items.index_of(item_ids)
    beams = max(count, BEAMS)
    ranking = recommender.rank([indices], beams=beams, exclude_history=exclude_history)
    click.echo("history")
    for item_id, item in zip(item_ids, indices, strict=True):
        click.echo(f"  {'':>8}  {item_id:<14} {items.titles[item]}")
    click.echo("recommended (log-probability)")
    for item, score in zip(ranking.items[0][:count], ranking.scores[0][:count], strict=True):
        if item >= 0:
            click.echo(f"  {score:8.3f}  {items.ids[item]:<14} {items.titles[item]}")


def _checkpoint(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a run or of a checkpoint; there is none")
    if not (folder / "model").is_dir():
        return folder
    if (folder / EXTENDED).is_dir():
        larger = folder / EXTENDED
        click.echo(f"{larger} knows more items: recllm recommend {larger} …", err=True)
    return folder / "model"
