"""Whether a checkpoint's folder is whole: asked before any work is done with it."""

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from recllm.config.model_section import ADAPTER, WHOLE
from recllm.errors import UserError
from recllm.models.checkpoint_files import ITEMS_FILE, SIDS_FILE, load_renderer
from recllm.models.plain import is_plain
from recllm.models.references import ADAPTER_WEIGHTS, DESCRIPTION, is_adapter
from recllm.models.tokenizers import load_tokenizer_of

WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
#: A tokenizer is in one of them; the first is what recllm writes.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def check_checkpoint(folder: Path) -> None:
    """Refuse a checkpoint, recllm's or a plain one, that cannot be what was saved.

    Raises:
        UserError: a file is missing or cut off, or the tokenizer, the model and the catalogue do
            not belong together.
    """
    require_files(folder)
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            raise UserError(
                f"{path}: the file is cut off or damaged ({error}); copy it again"
            ) from None
    tokenizer = (
        load_tokenizer_of(str(folder)) if is_plain(folder) else load_renderer(folder).tokenizer
    )
    highest, rows = max(tokenizer.get_vocab().values()), _embedding_rows(folder)
    if rows is not None and highest >= rows:
        raise UserError(
            f"{folder}: the tokenizer has tokens up to {highest}, but the model's embedding has "
            f"{rows} rows; put the tokenizer there that was saved with the model"
        )


def require_files(folder: Path) -> None:
    """Refuse a checkpoint that lacks a file; what is in the files is not looked at.

    Raises:
        UserError: it does.
    """
    missing = list(_missing(folder))
    if not missing:
        return
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    instead = f" ({pickles[0]} may run code, and is not read)" if pickles else ""
    raise UserError(
        f"{folder}: the checkpoint lacks {', '.join(missing)}{instead}; copy the whole folder "
        "again, or give another checkpoint"
    )


def _missing(folder: Path) -> Iterator[str]:
    """The names of the files that a checkpoint needs and that are not there."""
    needed = [] if is_plain(folder) else [DESCRIPTION, ITEMS_FILE, SIDS_FILE]
    if is_adapter(folder):
        needed += [ADAPTER_WEIGHTS]
    elif (folder / SHARDS).is_file():
        needed += [WHOLE, *_shards(folder / SHARDS)]
    else:
        needed += [WHOLE, WEIGHTS]
    yield from (name for name in needed if not (folder / name).is_file())
    if not any((folder / name).is_file() for name in TOKENIZERS):
        yield TOKENIZERS[0]


def _shards(path: Path) -> list[str]:
    return sorted(set(_read(path).get("weight_map", {}).values()))


def _embedding_rows(folder: Path) -> int | None:
    """As the model's configuration says; None for an adapter, whose base is given rows."""
    if (folder / ADAPTER).is_file() and not (folder / WHOLE).is_file():
        return None
    config = _read(folder / WHOLE)
    found = config.get("vocab_size", config.get("text_config", {}).get("vocab_size"))
    return found if isinstance(found, int) else None


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected JSON, but {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content
