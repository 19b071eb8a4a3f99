"""The text of the user's that `eval.perplexity` names."""

from pathlib import Path

from recllm.artifacts.manifest import hash_file
from recllm.errors import UserError


def text_identity(path: Path) -> dict[str, str]:
    """What tells the text from any other: the name and the sha256 of its file.

    Raises:
        UserError: there is no such file.
    """
    return {"name": path.name, "sha256": hash_file(_existing(path))}


def read_text(path: Path) -> str:
    """The text, its line ends as they are.

    Raises:
        UserError: there is no such file, or it is not UTF-8, or empty.
    """
    try:
        text = _existing(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"eval.perplexity: expected UTF-8 in {path}, found other bytes from byte "
            f"{error.start} on; save it as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"eval.perplexity: {path} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise UserError(f"eval.perplexity: expected a text in {path}, found an empty file")
    return text


def _existing(path: Path) -> Path:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise UserError(f"eval.perplexity: expected a text file {path}, found {found}")
    return path
