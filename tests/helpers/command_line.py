"""The command line, called in this process."""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from recllm.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a call ended with."""

    code: int
    out: str
    err: str


def recllm(*arguments: str) -> Outcome:
    """Call `recllm` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["recllm", *arguments]),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Outcome(code, out.getvalue(), err.getvalue())
