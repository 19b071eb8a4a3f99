"""Time, memory and tokens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recllm.artifacts.manifest import Manifest
from recllm.errors import UserError
from recllm.eval.cost import measured, training_cost


def write_stage(folder: Path, stage: str, seconds: float, counts: dict[str, int]) -> Path:
    path = folder / stage
    path.mkdir()
    Manifest(
        stage=stage,
        stage_version=1,
        key="0",
        settings={},
        parents={},
        seed=0,
        code_version="0",
        commit=None,
        counts=counts,
        files={},
        seconds=seconds,
        peak_memory_bytes=2**30,
    ).write(path)
    return path


def cost_of(folder: Path, log: list[dict[str, Any]], **counts: int) -> dict[str, float]:
    sft = write_stage(folder, "sft", 50.0, {"steps": 20, "tokens": 2000, **counts})
    (sft / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    return training_cost(sft)


SPEED = {
    "tokens_per_second": 50.0,
    "targets_per_second": 5.0,
    "samples_per_second": 2.5,
    "mfu": 0.3,
    "peak_gpu_memory_bytes": 2**31,
}
LOG = [
    {"epoch": 1.0, "loss": 3.0, "step": 10, "tokens_per_second": 1.0},
    {"epoch": 2.0, "step": 20, "train_loss": 2.5, "train_runtime": 40.0, **SPEED},
]


def test_training_is_told_with_its_rates(tmp_path: Path) -> None:
    assert cost_of(tmp_path, LOG, resumed_from_step=0) == {
        "seconds": 50.0,
        "peak_memory_bytes": 2**30,
        "tokens": 2000,
        **SPEED,
    }


def test_a_training_says_from_where_it_went_on(tmp_path: Path) -> None:
    assert cost_of(tmp_path, LOG, resumed_from_step=15)["resumed_from_step"] == 15


@pytest.mark.parametrize("log", [LOG[:1], []])
def test_no_rate_where_the_training_did_not_end(tmp_path: Path, log: list[dict[str, Any]]) -> None:
    assert "tokens_per_second" not in cost_of(tmp_path, log, resumed_from_step=0)


def test_a_folder_without_a_manifest_is_no_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no manifest"):
        training_cost(tmp_path)


def test_memory_is_the_most_that_was_held_meanwhile() -> None:
    with measured() as before:
        pass
    with measured() as cost:
        held = np.ones(2**25)  # 256 MiB
        held += 1
    assert cost["peak_memory_bytes"] > before["peak_memory_bytes"] + 2**27
    assert cost["seconds"] > 0
    assert ("peak_gpu_memory_bytes" in cost) == torch.cuda.is_available()
