"""Where a log goes beside the run's folder."""

import os
from pathlib import Path

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from recllm.errors import UserError
from recllm.train.trackers import TENSORBOARD_FOLDER, check_trackers, keep_tensorboard


class Installed(TrainerCallback):
    pass


class Missing(TrainerCallback):
    def __init__(self) -> None:
        raise RuntimeError("Missing requires missing to be installed.")


def test_trackers_are_refused_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"here": Installed, "gone": Missing}
    monkeypatch.setattr(integration_utils, "INTEGRATION_TO_CALLBACK", known)
    check_trackers([])
    check_trackers(["here"])
    with pytest.raises(UserError, match=r"report_to: Missing requires missing .*report_to: none"):
        check_trackers(["here", "gone"])
    with pytest.raises(UserError, match="nowhere"):
        check_trackers(["nowhere"])


def test_tensorboard_does_not_write_beside_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TENSORBOARD_FOLDER, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    keep_tensorboard(["wandb"], tmp_path)
    assert TENSORBOARD_FOLDER not in os.environ
    keep_tensorboard(["tensorboard"], tmp_path)
    assert os.environ[TENSORBOARD_FOLDER] == str(tmp_path)
    keep_tensorboard(["tensorboard"], tmp_path / "other")
    assert os.environ[TENSORBOARD_FOLDER] == str(tmp_path)
