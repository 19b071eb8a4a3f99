"""`recllm data export`: the prepared log as the files that another project reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recllm.artifacts.atomic import creating, require_new
from recllm.artifacts.cache import Artifact
from recllm.artifacts.storage import require_folder, writing
from recllm.cli import pipeline
from recllm.config.loading import load_recipe
from recllm.config.plugins import EXPORTS
from recllm.config.schema import Recipe

if TYPE_CHECKING:
    from recllm.data_prep.exports._prepared import Prepared


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--format", "kind", required=True, type=click.Choice(EXPORTS.names()))
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder that does not exist or is empty; its name is that of the dataset.",
)
def export(recipe: str, overrides: tuple[str, ...], kind: str, folder: Path) -> None:
    """Write RECIPE's log, split and SIDs as the files that MiniOneRec or LC-Rec reads.

    Runs the stages that it needs: ingest, filter, split, and sid where the log brings no SIDs of
    its own.
    """
    loaded = load_recipe(recipe, overrides)
    chosen = EXPORTS.load(kind)()
    chosen.check(loaded)
    require_folder(folder, "--to")
    require_new(folder)
    prepared, whose = _prepare(loaded)
    with creating(folder) as unfinished, writing(unfinished, "--to"):
        counts = chosen.write(prepared, folder.resolve().name, unfinished)
    told = ", ".join(f"{name} {number:,}" for name, number in counts.items())
    click.echo(f"{kind}: {told}; SIDs {whose}; in {folder}")


def _prepare(recipe: Recipe) -> "tuple[Prepared, str]":
    """What is exported, and where its SIDs come from."""
    from recllm.catalog.items import Items
    from recllm.data_prep.exports._prepared import Prepared, built_sids, given_sids
    from recllm.data_prep.sid import SIDS_FILE

    artifacts: dict[str, Artifact] = pipeline.run(recipe, "split")
    items = Items.read(artifacts["filter"].path / "items.parquet")
    sids, whose = given_sids(items), "as given with the log"
    if sids is None:
        artifacts = pipeline.run(recipe, "sid")
        sids, whose = built_sids(artifacts["sid"].path / SIDS_FILE, items), "of the stage sid"
    folders = (artifacts[name].path for name in ("filter", "split"))
    return Prepared.read(*folders, sids, recipe.prompts.max_history), whose
