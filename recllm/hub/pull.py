"""A checkpoint of the Hub with all that it needs, here to stay."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from recllm.artifacts.atomic import creating
from recllm.artifacts.storage import writing
from recllm.models.checkpoint_check import check_checkpoint
from recllm.models.download import download_base, download_checkpoint, list_files
from recllm.models.model_names import find_model
from recllm.models.references import BaseReference, is_adapter


@dataclass(frozen=True)
class Pulled:
    """What was downloaded.

    Attributes:
        folder: in the Hub's cache.
        commit: on the Hub.
        base: of an adapter; None for a whole model.
    """

    folder: Path
    commit: str
    base: BaseReference | None


def pull(name: str) -> Pulled:
    """Download a checkpoint and, of an adapter, its base, so that it works without a network.

    Called again, it goes on with what is missing.

    Args:
        name: user/name or user/name@revision.

    Raises:
        UserError: one of both cannot be downloaded, or the checkpoint is not whole.
    """
    folder = download_checkpoint(name, story=True)
    check_checkpoint(folder)
    if not is_adapter(folder):
        return Pulled(folder, folder.name, None)
    _download_bases(name, folder)
    return Pulled(folder, folder.name, BaseReference.of_adapter(folder))


def copy_to(pulled: Pulled, destination: Path) -> None:
    """Copy what was downloaded into a new folder; links of the Hub's cache become files.

    Raises:
        UserError: there is something in the folder.
    """
    with creating(destination) as unfinished, writing(unfinished, "DEST"):
        for name in list_files(pulled.folder):
            (unfinished / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(pulled.folder / name, unfinished / name)


def _download_bases(name: str, folder: Path) -> None:
    """The base of an adapter, and where that is an adapter too, its own.

    Raises:
        UserError: one is neither here nor on the Hub.
    """
    while is_adapter(folder):
        base = BaseReference.of_adapter(folder)
        base.check(folder)
        place = find_model(base.name, base.revision)
        known = Path(place.name).is_dir()
        folder = Path(place.name) if known else download_base(name, place.name, place.revision)
