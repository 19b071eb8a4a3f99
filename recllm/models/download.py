"""A recommender's checkpoint from the Hugging Face Hub."""

import logging
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from recllm.errors import UserError
from recllm.models.hub_errors import explaining
from recllm.models.references import DESCRIPTION

log = logging.getLogger(__name__)

#: user/name, optionally of a branch, tag or commit: user/name@revision.
CHECKPOINT_ID = re.compile(r"^(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^@\s]+))?$")
#: What a checkpoint has: weights, description, catalogue, tokenizer, chat template. No pickles.
FILES = ("*.json", "*.safetensors", "*.parquet", "*.model", "merges.txt", "vocab.txt", "*.jinja")
#: What only looks like it: files in folders, such as another model's.
NOT_FILES = ("*/*",)
#: Code beside the weights: only for who trusts it.
CODE = ("*.py",)
#: How a checkpoint was made and how well it does: the card, the recipe, the stages' manifests.
STORY = ("README.md", "recipe.yaml", "manifests/*.json")
NOT_STORY = ("*/*/*",)


class _Bar(tqdm):
    """Shown on a terminal alone, and gone when all is there."""

    opened: ClassVar[list["_Bar"]] = []

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options | {"disable": None, "leave": False})
        self.opened.append(self)

    @classmethod
    def close_all(cls) -> None:
        """The Hub's client leaves some open, and what is printed next would stand behind them."""
        while cls.opened:
            cls.opened.pop().close()


def is_checkpoint_id(name: str) -> bool:
    """Whether a name may be that of a checkpoint on the Hub."""
    return CHECKPOINT_ID.match(name) is not None


def download_checkpoint(name: str, *, code: bool = False, story: bool = False) -> Path:
    """The folder in the Hub's cache that holds a checkpoint; only what is missing is downloaded.

    Args:
        name: user/name or user/name@revision.
        code: whether Python code that lies beside the weights comes too.
        story: whether `STORY` does.

    Raises:
        UserError: as `find_description`.
    """
    folder = find_description(name)
    repo, revision = split_id(name)
    log.info("%s: commit %s of the Hub; downloading what is not here yet", name, folder.name)
    with explaining(f"{name}: ", repo, revision):
        # The commit: the branch may move on meanwhile.
        if story:
            # The client complains where nothing matches; the description always does.
            _download(repo, folder.name, (DESCRIPTION, *STORY), NOT_STORY)
        return _download(repo, folder.name, FILES + CODE if code else FILES, NOT_FILES)


def download_base(adapter: str, name: str, revision: str | None) -> Path:
    """The folder in the Hub's cache that holds the base of an adapter, a model of any kind.

    Args:
        adapter: for messages.
        name: of the base on the Hub.

    Raises:
        UserError: it may not be read, it has no safetensors, or the Hub cannot be reached.
    """
    said = f"{adapter}: the base of this adapter, {name}: "
    log.info("%s: its base is %s; downloading what is not here yet", adapter, name)
    with explaining(said, name, revision):
        folder = _download(name, revision, FILES, NOT_FILES)
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{said}the Hub has no safetensors of it, which alone are read; ask its owner for them"
        )
    return folder


def list_files(folder: Path) -> list[str]:
    """The files of a checkpoint in the Hub's cache, `STORY` among them, by their path in it.

    Others lie there where another program has downloaded them.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

    def are(allowed: Sequence[str], ignored: Sequence[str]) -> Iterable[str]:
        return (
            name
            for name in names
            if any(fnmatch(name, pattern) for pattern in allowed)
            and not any(fnmatch(name, pattern) for pattern in ignored)
        )

    return sorted({*are(FILES, NOT_FILES), *are(STORY, NOT_STORY)})


def _download(
    repo: str, revision: str | None, allowed: Sequence[str], ignored: Sequence[str]
) -> Path:
    from huggingface_hub import snapshot_download

    bar: Any = _Bar  # any tqdm will do, though it is annotated for one
    try:
        found = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(allowed),
            ignore_patterns=list(ignored),
            tqdm_class=bar,
        )
    finally:
        _Bar.close_all()
    return Path(found)


def find_description(name: str) -> Path:
    """As `download_checkpoint`, with the checkpoint's description alone.

    Raises:
        UserError: there is no such repository or revision, it may not be read, it holds no
            checkpoint, or the Hub cannot be reached.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    repo, revision = split_id(name)
    with explaining(f"{name}: ", repo, revision):
        is_here = try_to_load_from_cache(repo, DESCRIPTION, revision=revision)
        if not is_here and not constants.HF_HUB_OFFLINE:  # it may take a while to give it up
            log.info("%s: asking the Hugging Face Hub", name)
        try:
            return Path(hf_hub_download(repo, DESCRIPTION, revision=revision)).parent
        except RemoteEntryNotFoundError:
            raise UserError(
                f"{name}: the Hub's repository {repo} is no recllm checkpoint: it has no "
                f"{DESCRIPTION}; give one that was trained with recllm"
            ) from None


def split_id(name: str) -> tuple[str, str | None]:
    """The repository and the revision of a checkpoint's id.

    Raises:
        UserError: it is no such id.
    """
    found = CHECKPOINT_ID.match(name)
    if found is None:
        raise UserError(f"{name}: expected user/name or user/name@revision of a model on the Hub")
    return found["repo"], found["revision"]
