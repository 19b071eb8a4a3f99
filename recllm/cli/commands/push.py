"""`recllm push`: a trained recommender onto the Hugging Face Hub."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recllm.artifacts.atomic import write_text
from recllm.artifacts.storage import writing
from recllm.cli.interruption import explaining
from recllm.errors import UserError

if TYPE_CHECKING:
    from recllm.config.hub_section import HubSection
    from recllm.hub.upload import Pushed

log = logging.getLogger(__name__)

#: Where a dry run writes the card, in RUN.
CARD_HERE = "card.md"


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--repo", metavar="USER/NAME", help="On the Hub; by default the recipe's hub.repo.")
@click.option("--private", is_flag=True, help="Make the repository private, where it is new.")
@click.option("--revision", metavar="BRANCH", help="Push to this branch, which may be new.")
@click.option(
    "--base",
    metavar="USER/NAME[@REVISION]",
    help="Where the Hub has the model that an adapter was trained on, if that was a folder.",
)
@click.option("--dry-run", is_flag=True, help="List the files and write the card; ask nobody.")
def push(
    run: str,
    *,
    repo: str | None,
    private: bool,
    revision: str | None,
    base: str | None,
    dry_run: bool,
) -> None:
    """Upload the model of RUN to the Hugging Face Hub, with its card, recipe and manifests.

    RUN is a run's folder or a checkpoint's. The login is that of `hf auth login`. What the
    repository has already is not sent again; all the rest is one commit, or none.
    """
    checkpoint = _checkpoint(run)
    from recllm.cli.provenance import find_provenance
    from recllm.hub.base import published_base
    from recllm.hub.contents import gather
    from recllm.hub.upload import require_login, require_repo_name, upload
    from recllm.models.checkpoint_check import check_checkpoint

    provenance = find_provenance(Path(run))
    hub = None if provenance.recipe is None else provenance.recipe.hub
    repo = _repository(repo, hub)
    require_repo_name(repo)
    if not dry_run:
        require_login()
    check_checkpoint(checkpoint)
    said = f"interrupted in push; {repo} is as it was, or has the whole push: it is one commit"
    with explaining(lambda: said):
        found = published_base(checkpoint, base, ask=not dry_run)
        files = gather(checkpoint, provenance, repo, found)
        if dry_run:
            _show(Path(run), repo, files)
            return
        private = private or (hub is not None and hub.private)
        pushed = upload(files, repo, private=private, revision=revision)
    click.echo(_summary(pushed, repo))
    name = repo if revision is None else f"{repo}@{revision}"
    click.echo(f"try it: recllm recommend {name} --history {','.join(_some_items(checkpoint))}")


def _checkpoint(run: str) -> Path:
    """The folder of the checkpoint that is pushed.

    Raises:
        UserError: it is none, or something on the Hub.
    """
    from recllm.cli.run_folder import EXTENDED
    from recllm.models.checkpoint_ids import checkpoint_folder
    from recllm.models.download import is_checkpoint_id
    from recllm.models.plain import is_plain
    from recllm.models.references import DESCRIPTION

    folder = Path(run)
    if not folder.exists() and is_checkpoint_id(run):
        raise UserError(
            f"{run}: expected the folder of a run or of a checkpoint to push, and there is none; "
            f"if you mean what the Hub has, fetch it first: recllm pull {run} DEST"
        )
    found = checkpoint_folder(folder)
    if is_plain(found):
        raise UserError(
            f"{found}: expected a recllm checkpoint, found no {DESCRIPTION}; give the folder of a "
            "finished run"
        )
    if found != folder and (folder / EXTENDED).is_dir():
        larger = folder / EXTENDED
        log.info("%s knows more items: recllm push %s …", larger, larger)
    return found


def _repository(given: str | None, hub: "HubSection | None") -> str:
    name = given or (hub.repo if hub else None)
    if name is None:
        raise UserError("--repo: expected user/name, where to push to, found none; give it")
    return name


def _show(run: Path, repo: str, files: Mapping[str, Path | bytes]) -> None:
    """The files and their sizes as a table; the card goes into a file."""
    from recllm.hub.contents import CARD
    from recllm.hub.remote_files import size_of

    sizes = {name: size_of(content) for name, content in sorted(files.items())}
    width = len(f"{sum(sizes.values()):,}")
    click.echo(f"would push to {repo}, asking nobody now what it has already (bytes)")
    for name, size in sizes.items():
        click.echo(f"  {size:>{width},}  {name}")
    click.echo(f"  {sum(sizes.values()):>{width},}  in all")
    card = files[CARD]
    assert isinstance(card, bytes)
    with writing(run, "RUN"):
        write_text(run / CARD_HERE, card.decode())
    click.echo(f"the card: {run / CARD_HERE}")


def _summary(pushed: "Pushed", repo: str) -> str:
    if pushed.url is None:
        return f"{repo}: nothing to change, all {len(pushed.unchanged)} files are there already"
    counts = f"{len(pushed.added)} file(s) sent ({pushed.sent / 1e6:.1f} MB)"
    if pushed.unchanged:
        counts += f", {len(pushed.unchanged)} unchanged"
    if pushed.deleted:
        counts += f", deleted of an earlier push: {', '.join(pushed.deleted)}"
    return f"{pushed.url}: {counts}"


def _some_items(checkpoint: Path, count: int = 2) -> list[str]:
    from recllm.catalog.items import Items
    from recllm.models.checkpoint_files import ITEMS_FILE

    return Items.read(checkpoint / ITEMS_FILE).ids[:count]
