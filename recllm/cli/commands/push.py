"""`recllm push`: a trained recommender onto the Hugging Face Hub."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recllm.artifacts.atomic import write_text
from recllm.artifacts.storage import writing
from recllm.cli.interruption import explaining
from recllm.cli.run_folder import EXTENDED
from recllm.cli.suggestion import command_to_try
from recllm.errors import UserError

if TYPE_CHECKING:
    from recllm.hub.base import PublishedBase
    from recllm.hub.provenance import Provenance
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
    *,
    run: str,
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
    from recllm.hub.contents import gather
    from recllm.hub.upload import require_login, require_repo_name, upload
    from recllm.models.checkpoint_check import check_checkpoint
    from recllm.models.checkpoint_files import load_renderer

    provenance = find_provenance(Path(run))
    hub = provenance.recipe.hub if provenance.recipe else None
    repo = repo or (hub.repo if hub else None)
    if repo is None:
        raise UserError("--repo: expected user/name, where to push to, found none; give it")
    require_repo_name(repo)
    if not dry_run:
        require_login()
    check_checkpoint(checkpoint)
    said = f"interrupted in push; {repo} has all of it or none, for it is one commit"
    with explaining(lambda: said):
        found = _base(checkpoint, provenance, base, ask=not dry_run)
        files = gather(checkpoint, provenance, repo, found)
        if dry_run:
            _show(Path(run), repo, files)
            return
        private = private or (hub is not None and hub.private)
        pushed = upload(files, repo, private=private, revision=revision)
    click.echo(_summary(pushed, repo))
    name = repo if revision is None else f"{repo}@{revision}"
    click.echo(f"try: {command_to_try(name, load_renderer(checkpoint))}")


def _checkpoint(run: str) -> Path:
    """The folder of the checkpoint that is pushed.

    Raises:
        UserError: it is none, or not here but on the Hub.
    """
    from recllm.models.checkpoint_ids import checkpoint_folder
    from recllm.models.download import is_checkpoint_id
    from recllm.models.plain import is_plain
    from recllm.models.references import DESCRIPTION

    folder = Path(run)
    if not folder.exists() and is_checkpoint_id(run):
        raise UserError(
            f"{run}: expected the folder of a run or of a checkpoint to push, and there is none; "
            f"if the Hub has it, fetch it first: recllm pull {run} DEST"
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


def _base(
    checkpoint: Path, provenance: "Provenance", given: str | None, *, ask: bool
) -> "PublishedBase | None":
    """The model that the checkpoint needs, or, where it is whole, was fine-tuned from."""
    from recllm.hub.base import base_of_whole, published_base
    from recllm.models.references import is_adapter

    if is_adapter(checkpoint) or given is not None or not provenance.fine_tuned_from:
        return published_base(checkpoint, given, ask=ask)
    return base_of_whole(provenance.fine_tuned_from) if ask else None


def _show(run: Path, repo: str, files: Mapping[str, Path | bytes]) -> None:
    """The files and their sizes as a table; the card goes into a file."""
    from recllm.hub.contents import CARD
    from recllm.hub.remote_files import size_of

    sizes = {name: size_of(content) for name, content in sorted(files.items())}
    total = f"{sum(sizes.values()):,}"
    click.echo(f"would push to {repo}, all but what it has already (in bytes)")
    for name, size in sizes.items():
        click.echo(f"  {size:>{len(total)},}  {name}")
    click.echo(f"  {total}  in all, {len(sizes)} files")
    card = files[CARD]
    assert isinstance(card, bytes)
    with writing(run, "RUN"):
        write_text(run / CARD_HERE, card.decode())
    click.echo(f"the card, to be looked at: {run / CARD_HERE}")
    click.echo("nobody was asked: the licence of a base on the Hub is filled in when it is pushed")


def _summary(pushed: "Pushed", repo: str) -> str:
    if pushed.url is None:
        return f"{repo}: nothing to change, all {len(pushed.unchanged)} files are there already"
    counts = f"{len(pushed.added)} file(s) sent ({pushed.sent / 1e6:.1f} MB)"
    if pushed.unchanged:
        counts += f", {len(pushed.unchanged)} unchanged"
    if pushed.deleted:
        counts += f", deleted of an earlier push: {', '.join(pushed.deleted)}"
    return f"{pushed.url}: {counts}"
