"""Models by name, as recipes and adapters give them: a folder, or an id on the Hugging Face Hub.

A recommender on the Hub is taken for what it is: its folder in the Hub's cache, at one commit.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recllm.config.model_section import ADAPTER, WHOLE
from recllm.models.download import download_checkpoint
from recllm.models.hub_errors import explaining
from recllm.models.references import DESCRIPTION, BaseReference, is_adapter


@dataclass(frozen=True)
class Place:
    """Where a model is.

    Attributes:
        name: its folder, or its id on the Hub.
        revision: there; None for a folder, and for the Hub's main branch.
    """

    name: str
    revision: str | None = None


def find_model(name: str, revision: str | None = None) -> Place:
    """Where a model is: that of a recommender on the Hub is downloaded.

    Args:
        name: a folder, or user/name or user/name@revision.

    Raises:
        UserError: a recommender on the Hub cannot be downloaded.
    """
    if Path(name).is_dir():
        return Place(name)
    place = _on_hub(name, revision)
    commit = find_commit(name, revision)
    return place if commit is None else Place(str(_download(f"{place.name}@{commit}")))


#: A commit does not change.
_download = cache(download_checkpoint)


@cache
def find_commit(name: str, revision: str | None = None) -> str | None:
    """The commit of a recommender on the Hub; None for any other model, and for a folder.

    It is the same for as long as the process lives. Of a model that is in the Hub's cache without
    a recommender's description, the Hub is not asked.
    """
    if Path(name).is_dir():
        return None
    place = _on_hub(name, revision)
    description = _description(place)
    return None if description is None else description.parent.name


def _description(place: Place) -> Path | None:
    from huggingface_hub.errors import HFValidationError, HTTPError

    if place.name.count("/") != 1:  # the Hub's old names, and folders that are gone
        return None
    try:
        return _cached_description(place)
    except (HFValidationError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's
        return None  # whoever loads the model says what is wrong with it


def _cached_description(place: Place) -> Path | None:
    """The file in the Hub's cache, downloaded where it may be missing there."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    def cached(file: str) -> Any:
        return try_to_load_from_cache(place.name, file, revision=place.revision)

    found = cached(DESCRIPTION)
    if found is None and constants.HF_HUB_OFFLINE:
        return None
    if found is None and any(isinstance(cached(file), str) for file in (WHOLE, ADAPTER)):
        return None
    if not isinstance(found, str | None):  # known not to be there
        return None
    return Path(hf_hub_download(place.name, DESCRIPTION, revision=place.revision))


def identity(name: str) -> dict[str, str] | None:
    """What tells a recommender on the Hub from another of its name; None for any other model."""
    commit = find_commit(name)
    return None if commit is None else {"commit": commit}


def reference(name: str) -> BaseReference:
    """The model of a name, which has been loaded, for an adapter that is trained on it."""
    if Path(name).is_dir():
        return BaseReference.of(name)
    place = _on_hub(name, None)
    return BaseReference(place.name, find_commit(name) or _loaded_commit(place))


def _loaded_commit(place: Place) -> str | None:
    """The commit that a model of the Hub's cache is of."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place.name, WHOLE, revision=place.revision)
    return Path(found).parent.name if isinstance(found, str) else None


def require_bases(folder: Path) -> None:
    """Refuse an adapter whose base on the Hub cannot be had, before any work is done with it.

    Raises:
        UserError: it cannot.
    """
    from huggingface_hub import hf_hub_download

    while is_adapter(folder):
        base = BaseReference.of_adapter(folder)
        place = find_model(base.name, base.revision)
        if not Path(place.name).is_dir():
            said = f"{folder}: the base of this adapter, {place.name}: "
            with explaining(said, place.name, place.revision):
                hf_hub_download(place.name, WHOLE, revision=place.revision)
        folder = Path(place.name)


def tokenizer_source(name: str) -> Place:
    """Where a model's tokenizer is: with an adapter, or where it brings none, with its base.

    Raises:
        UserError: an adapter names no base.
    """
    place = find_model(name)
    while is_adapter(place.name) and not (Path(place.name) / "tokenizer_config.json").is_file():
        base = BaseReference.of_adapter(Path(place.name))
        place = find_model(base.name, base.revision)
    return place


def _on_hub(name: str, revision: str | None) -> Place:
    repo, _, given = name.partition("@")
    return Place(repo, given or revision)
