"""Which model an adapter was trained on: a name, and what tells it from another of that name."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recllm.artifacts.manifest import hash_file, hash_json
from recllm.config.model_section import ADAPTER, WHOLE
from recllm.errors import UserError

#: Describes a recommender in its folder.
DESCRIPTION = "recllm.json"
#: The weights of an adapter, as peft writes them.
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def is_adapter(name: str | Path) -> bool:
    """Whether a model's name is the folder of an adapter, recllm's or peft's."""
    return (Path(name) / ADAPTER).is_file() and not (Path(name) / WHOLE).is_file()


def file_hashes(folder: Path) -> dict[str, str]:
    """The hash of each file of a model: another one in the same folder is another model."""
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()}


@dataclass(frozen=True)
class BaseReference:
    """The model that an adapter belongs to.

    Attributes:
        name: a Hub id, or the folder of a model or of another adapter.
        revision: the commit on the Hub; None for a folder.
        fingerprint: of what decides the weights in a folder; None for the Hub.
    """

    name: str
    revision: str | None = None
    fingerprint: str | None = None

    @classmethod
    def of(cls, folder: str | Path) -> "BaseReference":
        """The model in a folder, as it is now, by its absolute path."""
        return cls(str(Path(folder).resolve()), None, fingerprint(Path(folder)))

    @classmethod
    def of_adapter(cls, folder: Path) -> "BaseReference":
        """The base that the adapter in `folder` names; a plain peft adapter's may be any.

        Raises:
            UserError: it names none.
        """
        described = _read_json(folder / DESCRIPTION).get("base")
        if described is not None:
            try:
                return cls(**described)
            except TypeError as error:
                raise UserError(f"{folder / DESCRIPTION}: base cannot be read: {error}") from None
        given = _read_json(folder / ADAPTER)
        name = given.get("base_model_name_or_path")
        if not name:
            raise UserError(
                f"{folder / ADAPTER}: expected base_model_name_or_path, the model that this is an "
                "adapter of, found none; add it"
            )
        return cls(name, given.get("revision"))

    def to_json(self) -> dict[str, Any]:
        """For `recllm.json`."""
        return asdict(self)

    def check(self, adapter: Path) -> None:
        """Refuse another model than the one that the adapter in `adapter` was trained on.

        Raises:
            UserError: the folder of the base is gone, or holds another model.
        """
        if self.fingerprint is None:
            if Path(self.name).is_absolute() and not Path(self.name).is_dir():
                raise UserError(_missing(adapter, self.name))
            return
        if not Path(self.name).is_dir():
            raise UserError(_missing(adapter, self.name))
        if fingerprint(Path(self.name)) != self.fingerprint:
            raise UserError(
                f"{adapter}: this is an adapter of the model that was in {self.name}, where there "
                "is another model now: it would give wrong answers on it. Put the right one back, "
                f"or name its folder under base in {adapter / DESCRIPTION}"
            )
        if is_adapter(self.name):
            BaseReference.of_adapter(Path(self.name)).check(Path(self.name))


def check_base(name: str) -> None:
    """Where a model's name is the folder of an adapter: refuse it without its base.

    Raises:
        UserError: the base is not there, or another, or the adapter has no safetensors.
    """
    if not is_adapter(name):
        return
    if not (Path(name) / ADAPTER_WEIGHTS).is_file():
        raise UserError(
            f"{name}: expected an adapter's weights in {ADAPTER_WEIGHTS}, found none; "
            "save it with safe_serialization"
        )
    BaseReference.of_adapter(Path(name)).check(Path(name))


def fingerprint(folder: Path) -> str:
    """sha256 of what decides the weights in a folder: its configuration and weights, and a base.

    Every byte of the weights is read, as loading them does: two models may differ in a few rows.
    """
    hashes: dict[str, Any] = {
        path.name: hash_file(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.name in (WHOLE, ADAPTER) or path.suffix == ".safetensors")
    }
    if is_adapter(folder):
        base = BaseReference.of_adapter(folder)
        if base.fingerprint is None and Path(base.name).is_dir():
            base = BaseReference.of(base.name)
        hashes["base"] = base.fingerprint or [base.name, base.revision]
    return hash_json(hashes)


def _missing(adapter: Path, name: str) -> str:
    where = DESCRIPTION if (adapter / DESCRIPTION).is_file() else ADAPTER
    return (
        f"{adapter}: this is an adapter of the model in {name}, and there is no such folder; "
        f"put it back, or name where it is now in {adapter / where}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no such file.

    Raises:
        UserError: it is not JSON.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, but {error}") from None
    return found if isinstance(found, dict) else {}
