"""Ctrl-C: the first stops the work and says what is kept, the second stops at once."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from recllm.errors import Interrupted, NetworkError, StorageError, UserError

#: Of Linux's prctl: the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


@dataclass
class _Watch:
    """Whether Ctrl-C was pressed, and what there is to say then."""

    pressed: bool = False
    describe: Callable[[], str] | None = None


_watch = _Watch()


@contextmanager
def watching() -> Iterator[None]:
    """Take Ctrl-C for as long as the command runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch.pressed = False
    before = signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def explaining(describe: Callable[[], str]) -> Iterator[None]:
    """Turn an interruption of the block into `Interrupted`, with what `describe` says.

    Libraries turn a KeyboardInterrupt that reaches them into errors of their own: whatever is
    raised after Ctrl-C is taken for its consequence.
    """
    _watch.describe = describe
    try:
        yield
    except (UserError, StorageError, NetworkError):
        raise
    except KeyboardInterrupt:
        raise Interrupted(describe()) from None
    except Exception:
        if _watch.pressed:
            raise Interrupted(describe()) from None
        raise
    finally:
        _watch.describe = None


def leave(code: int) -> None:
    """End the program; after Ctrl-C without tidying up, which a second one would interrupt."""
    if _watch.pressed:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def end_with_parent() -> None:
    """Have this process ended when the one that started it dies, however; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    if _watch.pressed:
        said = _watch.describe() if _watch.describe else "interrupted"
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"recllm: {said}\n".encode())
        os._exit(1)
    _watch.pressed = True
    raise KeyboardInterrupt
