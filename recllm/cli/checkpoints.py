"""`recllm eval --checkpoint`: which checkpoints are meant, and what is shown of them."""

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from recllm.artifacts.atomic import UNFINISHED
from recllm.artifacts.cache import Artifact
from recllm.artifacts.stage import Stage
from recllm.artifacts.storage import require_folder, writing
from recllm.cli import pipeline
from recllm.cli.interruption import explaining
from recllm.cli.run_folder import RESOLVED, RunFolder, identity_of, read_resolved
from recllm.config.schema import Recipe
from recllm.errors import UserError

if TYPE_CHECKING:
    from recllm.eval.comparison import Origin

log = logging.getLogger(__name__)


def find_checkpoints(names: Sequence[str], *, dry_run: bool = False) -> dict[str, Path]:
    """The folder of each checkpoint by the name that it is shown under.

    A name with wildcards that no folder has stands for all checkpoints that match it, in
    alphabetical order; what else matches is left out, and counted. The id of a model on the Hub,
    where there is no such path, is downloaded.

    Args:
        dry_run: whether only the descriptions of the Hub's checkpoints are downloaded.

    Raises:
        UserError: a name is no checkpoint's, nothing that matches is one, or one is not whole.
    """
    from recllm.models.checkpoint_check import check_checkpoint

    found: dict[str, Path] = {}
    for name in names:
        if has_magic(name) and not Path(name).is_dir():
            found |= _find_matches(name)
        else:
            found[name] = _find(name, dry_run)
    for name, checkpoint in found.items():
        if not dry_run or Path(name).exists():  # a dry run downloads descriptions alone
            check_checkpoint(checkpoint)
    return found


def origin_of(checkpoint: Path) -> "Origin | None":
    """The run that a checkpoint was trained by, where it stands in the run's folder."""
    from recllm.eval.comparison import Origin

    resolved = checkpoint.parent / RESOLVED
    if checkpoint.name != "model" or not resolved.is_file():
        return None
    keys = read_resolved(resolved.read_text(encoding="utf-8", errors="replace"))
    seed = keys.pop("seed", None)
    return Origin(identity_of(keys), seed) if isinstance(seed, int) else None


def show_checkpoints(
    recipe: Recipe,
    folders: dict[str, Path],
    announce: Callable[[Stage, Artifact, bool], None],
) -> str:
    """Show the results of checkpoints in the run's folder; the table of them."""
    require_folder(recipe.output_dir, "output_dir")
    RunFolder(recipe).check()
    origins = {name: origin_of(folder) for name, folder in folders.items()}
    known = {name: origin for name, origin in origins.items() if origin}
    with tempfile.TemporaryDirectory(prefix="recllm-") as temporary:
        adopted, done = _adopt_plain(recipe, folders, announce, Path(temporary))

        def announce_new(stage: Stage, artifact: Artifact, built: bool) -> None:
            if stage.name not in done:
                announce(stage, artifact, built)

        inputs = pipeline.run(recipe, "baselines", announce_new)
        return _evaluate(recipe, inputs, folders | adopted, known)


def _adopt_plain(
    recipe: Recipe,
    folders: Mapping[str, Path],
    announce: Callable[[Stage, Artifact, bool], None],
    out: Path,
) -> tuple[dict[str, Path], Mapping[str, Artifact]]:
    """Recommenders in `out` in place of the plain checkpoints, and the stages that this took."""
    from recllm.catalog.items import Items
    from recllm.catalog.sids import read_index
    from recllm.models.plain import adopt, is_plain
    from recllm.prompts.examples import CatalogText

    plain = {name: folder for name, folder in folders.items() if is_plain(folder)}
    if not plain:
        return {}, {}
    done = pipeline.run(recipe, "sid", announce)
    items = Items.read(done["filter"].path / "items.parquet")
    catalog = CatalogText(items, read_index(done["sid"].path / "sids.parquet"))
    adopted: dict[str, Path] = {}
    for number, (name, folder) in enumerate(plain.items()):
        adopted[name] = out / str(number)
        adopted[name].mkdir()
        adopt(folder, recipe, catalog, adopted[name])
    return adopted, done


def _evaluate(
    recipe: Recipe,
    inputs: Mapping[str, Artifact],
    folders: Mapping[str, Path],
    origins: Mapping[str, "Origin"],
) -> str:
    from recllm.eval.checkpoints import evaluate_checkpoints

    shown = RunFolder(recipe)
    said = (
        f"interrupted in eval --checkpoint; finished and kept: {', '.join(inputs)}; the same "
        "command goes on with what has not been ranked yet"
    )
    with explaining(lambda: said), shown:
        shown.occupy()
        with (
            writing(recipe.output_dir, "output_dir"),
            tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=recipe.output_dir) as temporary,
        ):
            table = evaluate_checkpoints(recipe, inputs, folders, origins, Path(temporary))
            shown.publish_checkpoints(Path(temporary))
    return table


def _find_matches(pattern: str) -> dict[str, Path]:
    """The checkpoints among what matches a name with wildcards."""
    # Path.glob would refuse absolute patterns.
    matches = {match: _checkpoint_or_none(match) for match in sorted(glob(pattern))}  # noqa: PTH207
    checkpoints = {match: path for match, path in matches.items() if path}
    if not checkpoints:
        raise UserError(
            f"--checkpoint {pattern}: expected at least one checkpoint, found none among the "
            f"{len(matches)} path(s) that match"
        )
    if len(checkpoints) < len(matches):
        others = len(matches) - len(checkpoints)
        log.info("--checkpoint %s: left out %s path(s) that are no checkpoint", pattern, others)
    return checkpoints


def _find(name: str, dry_run: bool) -> Path:
    from recllm.models.checkpoint_ids import checkpoint_folder

    try:
        return checkpoint_folder(name, description_only=dry_run)
    except UserError as error:
        raise UserError(f"--checkpoint {error}") from None


def _checkpoint_or_none(name: str) -> Path | None:
    try:
        return _find(name, dry_run=False)
    except UserError:
        return None
