"""The model that an adapter is loaded on, as others find it on the Hub."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recllm.config.model_section import HUB_ID, WHOLE
from recllm.errors import NetworkError, UserError
from recllm.hub.remote_files import same_content
from recllm.models.hub_errors import explaining
from recllm.models.references import BaseReference, is_adapter

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedBase:
    """A base on the Hub.

    Attributes:
        name: user/name.
        revision: the commit.
        licence: as the Hub's repository states it; None where it states none.
    """

    name: str
    revision: str
    licence: str | None


def published_base(
    checkpoint: Path, given: str | None, *, ask: bool = True
) -> PublishedBase | None:
    """Where others find the base of an adapter; None for a whole model, which needs none.

    Args:
        given: user/name or user/name@revision of a repository that has the base, where the
            adapter was trained on a folder.
        ask: whether the Hub is asked. If not, the licence is left out, and what `given` names is
            not compared with the folder.

    Raises:
        UserError: nobody else could load the adapter, `given` names another model or is not
            wanted, or the Hub refuses to tell.
        NetworkError: the Hub cannot be reached.
    """
    if not is_adapter(checkpoint):
        if given is not None:
            raise UserError(
                f"--base: {checkpoint} is a whole model, which needs no base; leave it out"
            )
        return None
    base = BaseReference.of_adapter(checkpoint)
    base.check(checkpoint)
    if not Path(base.name).is_dir():
        if given is not None:
            raise UserError(
                f"--base: {checkpoint} names its base on the Hub itself, {base.name}; leave it out"
            )
        if base.revision is None:
            log.warning(
                "%s does not say which commit of %s it was trained on; that of now is named",
                checkpoint, base.name,
            )  # fmt: skip
        return _on_hub(base.name, base.revision, ask=ask)
    if given is None or is_adapter(base.name):
        raise UserError(_for_nobody_else(checkpoint, base.name))
    name, revision = _parts(given)
    if not HUB_ID.match(name) or Path(name).is_dir():
        raise UserError(
            f"--base: expected user/name or user/name@revision on the Hub, found {given!r}"
        )
    return _on_hub(name, revision, ask=ask, same_as=Path(base.name))


def base_of_whole(name: str) -> PublishedBase | None:
    """The model on the Hub that a whole model was fine-tuned from; None where it cannot be asked.

    Nobody needs it to use the model: that it is gone, or cannot be reached, is only logged.
    """
    try:
        return _described(name, _model_info(*_parts(name)))
    except (UserError, NetworkError) as error:
        log.warning("%s; the card tells nothing of its licence", error)
        return None


def _parts(name: str) -> tuple[str, str | None]:
    repo, _, revision = name.partition("@")
    return repo, revision or None


def _on_hub(
    name: str, revision: str | None, *, ask: bool, same_as: Path | None = None
) -> PublishedBase:
    """A repository of the Hub as the base of an adapter.

    Args:
        same_as: a folder that must have the same weights.
    """
    if not ask:
        return PublishedBase(name, revision or "main", None)
    info = _model_info(name, revision)
    if same_as is not None:
        _require_same_weights(info, same_as)
    if info.private or info.gated:
        kind = "private" if info.private else "gated"
        log.warning("the base %s is %s: only who may read it can load the adapter", name, kind)
    return _described(name, info)


def _described(name: str, info: "ModelInfo") -> PublishedBase:
    assert info.sha is not None  # that of a model's own page is always told
    stated = None if info.card_data is None else info.card_data.get("license")
    repo, _ = _parts(name)
    return PublishedBase(repo, info.sha, stated if isinstance(stated, str) else None)


def _model_info(name: str, revision: str | None) -> "ModelInfo":
    from huggingface_hub import HfApi

    with explaining(f"the base {name}: ", name, revision, unreachable=NetworkError):
        return HfApi().model_info(name, revision=revision, files_metadata=True)


def _require_same_weights(info: "ModelInfo", folder: Path) -> None:
    """Refuse a repository whose weights are not those of a folder.

    Raises:
        UserError: a file is missing there, or is another.
    """
    theirs = {sibling.rfilename: sibling for sibling in info.siblings or []}
    for path in sorted(folder.glob("*.safetensors")):
        remote = theirs.get(path.name)
        if remote is None or not same_content(path, remote):
            found = "has no file of this name" if remote is None else "has another one"
            raise UserError(
                f"--base: expected {info.id} to hold the model in {folder}, but of {path.name} it "
                f"{found}; name another repository or revision, or merge the adapter into its base"
            )
    config = theirs.get(WHOLE)
    if config is None or not same_content(folder / WHOLE, config):
        log.warning(
            "--base: %s has the weights of %s, but its %s is not the same, byte for byte; compare "
            "the two", info.id, folder, WHOLE,
        )  # fmt: skip


def _for_nobody_else(checkpoint: Path, base: str) -> str:
    if is_adapter(base):
        return (
            f"{checkpoint}: this is an adapter of another adapter, {base}, which others could not "
            f"load: merge it into a whole model first, recllm merge {checkpoint} DEST, and push "
            "DEST"
        )
    return (
        f"{checkpoint}: this is an adapter of the model in {base}, a folder that nobody else has: "
        "name the same model on the Hub with --base user/name, or make a whole model of both, "
        f"recllm merge {checkpoint} DEST, and push DEST"
    )
