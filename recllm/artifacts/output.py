"""The folder in which a run shows its results: one run at a time writes there."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recllm.artifacts.atomic import remove_unfinished, write_text
from recllm.artifacts.storage import writing
from recllm.errors import UserError

log = logging.getLogger(__name__)

#: Locked by the run that writes there; the system unlocks it when the process dies, however.
LOCK = ".lock"
#: Says which run that is. Left behind by a killed one, and then of no meaning.
OWNER = ".owner.json"
#: As long as a run may take from locking the folder to saying who it is.
GRACE_SECONDS = 2.0


@contextmanager
def occupied(folder: Path, identity: str, places: Iterable[str] = (".",)) -> Iterator[None]:
    """Hold `folder` for one run; a second run of the same recipe waits for the first.

    Args:
        identity: equal for runs that would write the same results.
        places: the folders in it that a run writes into, from which is cleared what a killed run
            left unfinished. Others may be the folders of other runs.

    Raises:
        UserError: a run that would write other results holds it: they would replace each other.
    """
    with writing(folder, "output_dir"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        _acquire(lock, folder, identity)
    try:
        with writing(folder, "output_dir"):
            owner = {"identity": identity, "process": os.getpid()}
            write_text(folder / OWNER, json.dumps(owner))
            for place in places:
                remove_unfinished(folder / place)
        yield
    finally:
        try:
            (folder / OWNER).unlink(missing_ok=True)
        finally:
            lock.release()


def _acquire(lock: FileLock, folder: Path, identity: str) -> None:
    try:
        lock.acquire(timeout=GRACE_SECONDS)
        return
    except Timeout:
        owner = _read_owner(folder)
    if owner.get("identity", identity) != identity:
        raise UserError(
            f"{folder}: a run with other settings is writing there (process "
            f"{owner.get('process', 'unknown')}); "
            "give this one another output_dir, or start it when that one has ended"
        )
    log.info("%s: another run of this recipe is writing there; waiting for it", folder)
    lock.acquire()


def _read_owner(folder: Path) -> dict[str, Any]:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}
