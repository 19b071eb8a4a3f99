"""Checkpoints by name: a folder, the folder of a run, or an id on the Hugging Face Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recllm.config.registry import nearest
from recllm.errors import UserError
from recllm.models.download import (
    download_checkpoint,
    find_description,
    is_checkpoint_id,
)
from recllm.models.model_names import find_commit, find_model, identity
from recllm.models.references import DESCRIPTION, file_hashes

#: What a run shows its checkpoint as.
MODEL = "model"


def checkpoint_folder(
    name: str | Path, *, description_only: bool = False, code: bool = False
) -> Path:
    """The folder of a checkpoint.

    Args:
        name: the folder itself, that of the run that shows it, or where there is no such path,
            user/name or user/name@revision on the Hub, which is downloaded.
        description_only: whether no more than the description is downloaded.
        code: whether Python code that lies beside the weights is downloaded too.

    Raises:
        UserError: there is no such folder and nothing on the Hub, or it holds no model.
    """
    from recllm.models.plain import is_plain

    path = Path(name)
    if path.is_dir():
        for found in (path / MODEL, path):
            if (found / DESCRIPTION).is_file() or is_plain(found):
                return found
        raise UserError(
            f"{name}: expected a checkpoint, found no {DESCRIPTION}; give the folder of a finished "
            f"run, or `{MODEL}` in it"
        )
    if path.exists():
        raise UserError(f"{name}: expected the folder of a run or of a checkpoint, found a file")
    if not is_checkpoint_id(str(name)):
        raise UserError(
            f"{name}: expected the folder of a run or of a checkpoint, or user/name on the Hub; "
            f"there is no such folder{_near(path)}"
        )
    try:
        if description_only:
            return find_description(str(name))
        return download_checkpoint(str(name), code=code)
    except UserError as error:
        why = str(error).removeprefix(f"{name}: ")
        raise UserError(f"{name}: there is no such folder{_near(path)}, and {why}") from None


def named_checkpoint(key: str, name: str) -> Path:
    """The folder of the checkpoint that a recipe names; of the Hub, always the same commit.

    Args:
        key: of the recipe.

    Raises:
        UserError: as `checkpoint_folder`.
    """
    with _of_recipe(key):
        return checkpoint_folder(name if find_commit(name) is None else find_model(name).name)


def named_identity(key: str, name: str) -> dict[str, str]:
    """What tells it from another of its name: the commit on the Hub, or the hashes of its files.

    Raises:
        UserError: as `checkpoint_folder`.
    """
    with _of_recipe(key):
        return identity(name) or file_hashes(checkpoint_folder(name))


@contextmanager
def _of_recipe(key: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _near(path: Path) -> str:
    """For a message: the folder that may have been meant by a path that does not exist."""
    wanted = next(p for p in (path, *path.parents) if p.parent.is_dir())
    try:
        beside = [p.name for p in wanted.parent.iterdir() if p.is_dir()]
    except OSError:
        return ""
    close = nearest(wanted.name, beside)
    return f" (did you mean {wanted.parent / close}?)" if close else ""
