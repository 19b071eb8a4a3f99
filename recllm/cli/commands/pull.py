"""`recllm pull`: a checkpoint from the Hugging Face Hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recllm.artifacts.atomic import require_new
from recllm.artifacts.storage import require_folder
from recllm.cli.headline import headline_table
from recllm.cli.interruption import explaining
from recllm.cli.suggestion import command_to_try
from recllm.config.model_section import WHOLE

if TYPE_CHECKING:
    from recllm.hub.pull import Pulled

#: Of an evaluation, where the repository has it.
METRICS = "metrics.json"


@click.command()
@click.argument("name", metavar="USER/NAME[@REVISION]")
@click.argument("destination", metavar="[DEST]", required=False, type=click.Path(path_type=Path))
def pull(name: str, destination: Path | None) -> None:
    """Download a checkpoint from the Hugging Face Hub, and what an adapter needs of its base.

    Afterwards it works without a network, wherever a checkpoint is named: USER/NAME in the Hub's
    cache, or DEST, a new folder that gets a copy of its files, the card and the recipe among them.
    """
    if destination is not None:
        require_folder(destination, "DEST")
        require_new(destination)
    from recllm.hub.pull import copy_to
    from recllm.hub.pull import pull as pull_checkpoint
    from recllm.models.checkpoint_files import load_renderer

    said = f"interrupted in pull; what has arrived of {name} is kept, the same command goes on"
    with explaining(lambda: said):
        pulled = pull_checkpoint(name)
        if destination is not None:
            copy_to(pulled, destination)
    click.echo(f"{name}: commit {pulled.commit} of the Hub, in {destination or pulled.folder}")
    renderer = load_renderer(pulled.folder)
    click.echo(f"{len(renderer.catalog.items):,} items, {_kind(pulled)}")
    if (table := _figures(pulled.folder)) is not None:
        click.echo(f"\n{table}\n")
    # Where there is such a path, the name means that.
    called = destination or (pulled.folder if Path(name).exists() else name)
    click.echo(f"try: {command_to_try(str(called), renderer)}")


def _kind(pulled: "Pulled") -> str:
    if pulled.base is not None:
        return f"an adapter of {pulled.base.name}"
    architecture = json.loads((pulled.folder / WHOLE).read_text(encoding="utf-8"))["model_type"]
    return f"a whole model ({architecture})"


def _figures(folder: Path) -> str | None:
    """The table of the evaluation that was pushed with it; others' words may be of any form."""
    if not (folder / METRICS).is_file():
        return None
    try:
        return headline_table(json.loads((folder / METRICS).read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{METRICS} is not that of an evaluation by recllm: {error!r}"
