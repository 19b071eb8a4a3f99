"""Where a sentence-transformers model lies, which one it is, and whether it may be loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.manifest import hash_file, hash_json
from recllm.artifacts.storage import FULL
from recllm.errors import UserError

MODULES = "modules.json"
#: Whose models a name without a slash means, as in the library.
USUAL_OWNER = "sentence-transformers"
#: What is downloaded: no pickles, and no copies for other frameworks.
DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken")
NOT_DOWNLOADED = ("onnx/*", "openvino/*")


def hash_folder(folder: Path) -> str:
    """The hash of a folder's files and their names, but for hidden ones."""
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    shown = [n for n in names if not any(part.startswith((".", "__")) for part in n.parts)]
    files = {name.as_posix(): folder / name for name in shown if (folder / name).is_file()}
    return hash_json({name: hash_file(path) for name, path in files.items()})


def find_modules(model: str, revision: str | None, *, trust_remote_code: bool) -> None:
    """Refuse what is no sentence-transformers model, or needs code of its own; loads no weights.

    Raises:
        UserError: it is not there, is not one, or brings code that is not trusted.
    """
    if Path(model).is_dir():
        folder = Path(model)
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import RemoteEntryNotFoundError

        try:
            file = hf_hub_download(_full_name(model), MODULES, revision=revision)
        except RemoteEntryNotFoundError:
            raise UserError(_no_modules(model)) from None
        except Exception as error:  # whatever the network comes up with
            raise _cannot_be_had(model, error) from None
        folder = Path(file).parent
    _check_modules(folder, model, trust_remote_code)


def locate(model: str, revision: str | None, *, trust_remote_code: bool) -> Path:
    """The folder of a model; one of the Hub is downloaded, or found in the cache of downloads.

    Raises:
        UserError: as `find_modules`; or weights are in pickle files alone.
    """
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        code = ("*.py",) if trust_remote_code else ()
        try:
            folder = Path(
                snapshot_download(
                    _full_name(model),
                    revision=revision,
                    allow_patterns=[*DOWNLOADED, *code],
                    ignore_patterns=list(NOT_DOWNLOADED),
                )
            )
        except Exception as error:  # whatever the network comes up with
            raise _cannot_be_had(model, error) from None
    for module in _check_modules(folder, model, trust_remote_code):
        _refuse_pickles(folder / str(module.get("path", "")), model)
    return folder


def _check_modules(folder: Path, model: str, trust_remote_code: bool) -> list[Mapping[str, Any]]:
    """The modules of the model in a folder."""
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        types = [str(module["type"]) for module in modules]
    except FileNotFoundError:
        raise UserError(_no_modules(model)) from None
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{model}: {MODULES} is not that of a sentence-transformers model: {in_short(error)}"
        ) from None
    own = [name for name in types if not name.startswith("sentence_transformers.")]
    if own and not trust_remote_code:  # from a folder, the library itself would run it unasked
        raise UserError(
            f"{model}: the model brings code of its own ({', '.join(own)}); read it, and set "
            "trust_remote_code: true if you trust it, or choose another model"
        )
    return modules


def _refuse_pickles(folder: Path, model: str) -> None:
    if any(folder.glob("pytorch_model*.bin")) and not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{model}: {folder.name} has its weights in a pickle file, which can run code as it is "
            "read; convert it to safetensors, or choose another model"
        )


def _full_name(model: str) -> str:
    return model if "/" in model else f"{USUAL_OWNER}/{model}"


def _no_modules(model: str) -> str:
    return (
        f"{model}: expected a sentence-transformers model, found no {MODULES}; choose another, or "
        "save it once with the library, with the pooling that it was made for"
    )


def _cannot_be_had(model: str, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno in FULL:
        return error
    return UserError(
        f"{model}: the model is no folder, and cannot be had from the Hub: {in_short(error)}; "
        "check the name and the network, or give a folder with a copy"
    )


def in_short(error: BaseException) -> str:
    """The first line of an error's message, of a bearable length."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return first if len(first) <= 300 else f"{first[:297]}..."
