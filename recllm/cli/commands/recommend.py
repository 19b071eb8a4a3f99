"""`recllm recommend`: what a trained recommender would show a user."""

import json
from pathlib import Path

import click

from recllm.cli.run_folder import EXTENDED
from recllm.errors import UserError


def _ids(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """The ids of a list with commas."""
    del context
    if text is None:
        return None
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not ids:
        raise UserError(f"--{parameter.name}: expected at least one item id, found none")
    return ids


@click.command()
@click.argument("run")
@click.option(
    "--history", required=True, metavar="ITEM_ID,…", callback=_ids, help="Item ids, oldest first."
)
@click.option("-k", "count", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--exclude", metavar="ITEM_ID,…", callback=_ids, help="Never recommend these.")
@click.option("--only", metavar="ITEM_ID,…", callback=_ids, help="Recommend none but these.")
@click.option(
    "--exclude-history/--include-history",
    default=None,
    help="Whether items of the history may be recommended; by default as the run did it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def recommend(
    *,
    run: str,
    history: list[str],
    count: int,
    exclude: list[str] | None,
    only: list[str] | None,
    exclude_history: bool | None,
    as_json: bool,
) -> None:
    """Print the top items for a history.

    RUN is a run's folder, a checkpoint's, or user/name or user/name@revision on the Hub.
    """
    from recllm.models.recommender import Recommender

    _mention_extended(Path(run))
    recommender = Recommender.from_pretrained(run)
    titles = [recommender.items.titles[item] for item in recommender.items.index_of(history)]
    (found,) = recommender.recommend(
        [history], count, exclude=exclude, only=only, exclude_history=exclude_history
    )
    if as_json:
        rows = [item._asdict() for item in found]
        click.echo(json.dumps({"history": history, "recommended": rows}, ensure_ascii=False))
        return
    click.echo("history")
    for item_id, title in zip(history, titles, strict=True):
        click.echo(f"  {'':>8}  {item_id:<14} {title}")
    click.echo("recommended (log-probability)")
    for item in found:
        click.echo(f"  {item.score:8.3f}  {item.item_id:<14} {item.title}")


def _mention_extended(folder: Path) -> None:
    larger = folder / EXTENDED
    if (folder / "model").is_dir() and larger.is_dir():
        click.echo(f"{larger} knows more items: recllm recommend {larger} …", err=True)
