"""Where else a training's log goes: `sft.trainer.report_to`, as transformers knows it."""

import os
from collections.abc import Sequence
from pathlib import Path

from transformers.integrations import get_reporting_integration_callbacks

from recllm.errors import UserError

TENSORBOARD_FOLDER = "TENSORBOARD_LOGGING_DIR"


def check_trackers(names: str | Sequence[str] | None) -> None:
    """Refuse trackers that are unknown, or not installed, before anything is trained.

    Raises:
        UserError: there is one.
    """
    try:
        for tracker in get_reporting_integration_callbacks(names):
            tracker()
    except (ImportError, RuntimeError, ValueError) as error:
        raise UserError(
            f"sft.trainer.report_to: {error} Install it, or set report_to: none"
        ) from None


def keep_tensorboard(names: str | Sequence[str] | None, folder: Path) -> None:
    """Let TensorBoard write into `folder`, unless the environment says where.

    By itself it writes beside the checkpoints, which are deleted in the end.
    """
    if "tensorboard" in (names or ()):
        os.environ.setdefault(TENSORBOARD_FOLDER, str(folder))
