"""One process and several reinforce alike, and a training that was killed goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import Place
from killing import kill_all, wait_for_checkpoint
from safetensors.torch import load_file

#: Every start of a process takes seconds, and many on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RL = (
    "sft.trainer.max_steps=48",
    "rl.generations=4",
    "rl.rewards={rank: 1.0, prefix: 0.2}",
    "rl.rollout=sbs",
    "rl.resample=1",
    "rl.batch_size=8",
    "rl.validation_users=60",
    "rl.patience=50",
    "rl.trainer.max_steps=12",
    "rl.trainer.logging_steps=1",
    "rl.trainer.learning_rate=1.0e-3",
    "rl.trainer.beta=0.05",
    "rl.trainer.eval_strategy=steps",
    "rl.trainer.eval_steps=4",
    "rl.trainer.save_strategy=steps",
    "rl.trainer.save_steps=4",
)
ONE, TWO = 16, 8  # items of a small step; both have two small steps
STEPS = 12
TOLERANCE = 1e-3
FIGURES = ("reward", "rewards/rank", "rewards/prefix", "group_hit_rate", "silent_groups",
           "replaced_groups", "distinct_items", "kl", "loss")  # fmt: skip


def overrides(at_once: int) -> tuple[str, ...]:
    return (*RL, f"rl.trainer.per_device_train_batch_size={at_once}")


def log_of(place: Place) -> list[dict[str, Any]]:
    lines = (place.run / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "reward" in row]


def weights(place: Place) -> dict[str, torch.Tensor]:
    return load_file(place.run / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def alone(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("alone"), recipe, overrides(ONE))
    place.finish("rl")
    return place


@pytest.mark.parametrize("way", ["ddp", "zero2"])
def test_two_processes_reinforce_as_one_does(
    alone: Place, recipe: str, tmp_path: Path, way: str
) -> None:
    same_start = f"rl.checkpoint={alone.run / 'sft' / 'model'}"
    two = Place(tmp_path, recipe, (*overrides(TWO), same_start))
    two.finish("rl", "--accelerate", way, "--processes", "2")
    assert two.manifest("rl")["counts"]["processes"] == 2
    first, second = log_of(alone), log_of(two)
    assert len(first) == len(second) == STEPS
    for name in FIGURES:
        differences = np.abs([a[name] - b[name] for a, b in zip(first, second, strict=True)])
        assert differences.max() < TOLERANCE, (name, differences)
    assert any(row["replaced_groups"] > 0 for row in first)
    assert any(row["reward"] != first[0]["reward"] for row in first)


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_in_the_middle_it_ends_the_same(
    alone: Place, recipe: str, tmp_path: Path, processes: int
) -> None:
    options = ("--accelerate", "ddp", "--processes", "2") if processes == 2 else ()
    at_once = TWO if processes == 2 else ONE
    killed = Place(tmp_path / "killed", recipe, overrides(at_once))
    started = killed.start("rl", *options)
    wait_for_checkpoint(started, killed, 8, stage="rl")
    kill_all(started)
    ended = killed.finish("rl", *options)
    assert "rl: going on from checkpoint-8" in ended.err
    whole = alone
    if processes == 2:
        whole = Place(tmp_path / "whole", recipe, overrides(at_once))
        whole.finish("rl", *options)
    assert killed.manifest("sft")["counts"]["processes"] == processes  # both in one launch
    first, second = weights(whole), weights(killed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [row["reward"] for row in log_of(whole)] == [row["reward"] for row in log_of(killed)]


def test_a_model_in_parts_is_refused(recipe: str, tmp_path: Path) -> None:
    place = Place(tmp_path, recipe, overrides(TWO))
    place.finish("sft")
    ended = place.start("rl", "--accelerate", "zero3", "--processes", "2").wait()
    assert ended.code == 2, ended.err
    assert "rl needs the whole model in each process" in ended.err
    assert "Traceback" not in ended.err
