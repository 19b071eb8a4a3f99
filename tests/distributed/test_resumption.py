"""SIGKILL in the middle of an epoch: training goes on to the weights of an uninterrupted one."""

import shutil
import sysconfig
from pathlib import Path

import pytest
from faults import FSDP2, Place
from killing import kill_all, wait_for_checkpoint
from transformers.trainer_callback import TrainerState

from recllm.train.resume import last_whole_checkpoint

#: Every start of a process takes seconds, and many on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: An epoch has 7 steps (see the test), so that no checkpoint is at the end of one.
SAVED_EVERY, KILLED_AFTER = 5, 10
SETTINGS = (
    "model.from_scratch.dropout=0.1",
    "sft.drop_items=0.3",
    "sft.patience=100",
    "sft.trainer.max_steps=34",
    f"sft.trainer.eval_steps={SAVED_EVERY}",
    f"sft.trainer.save_steps={SAVED_EVERY}",
)
TWO = ("--accelerate", "ddp", "--processes", "2")
WAYS = {
    "one": ((), ()),
    "ddp": (TWO, ("sft.trainer.per_device_train_batch_size=8",)),
    "zero2": (
        ("--accelerate", "zero2", "--processes", "2"),
        ("sft.trainer.per_device_train_batch_size=8",),
    ),
    "zero2-offload": (
        ("--accelerate", "zero2-offload", "--processes", "2"),
        ("sft.trainer.per_device_train_batch_size=8",),
    ),
    "zero3": (
        ("--accelerate", "zero3", "--processes", "2"),
        ("sft.trainer.per_device_train_batch_size=8", "sft.loss=vocab", "eval.scoring=vocab"),
    ),
    "fsdp2": (
        FSDP2,
        ("sft.trainer.per_device_train_batch_size=8", "sft.loss=vocab", "eval.scoring=vocab"),
    ),
}


def can_compile() -> bool:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return header.is_file() and all(shutil.which(name) for name in ("g++", "ninja"))


@pytest.mark.parametrize("way", WAYS)
def test_killed_in_the_middle_of_an_epoch_training_ends_the_same(
    recipe: str, tmp_path: Path, way: str
) -> None:
    if way == "zero2-offload" and not can_compile():
        pytest.skip("DeepSpeed compiles its optimizer for the CPU, and there is no C++ compiler")
    options, settings = WAYS[way]
    whole = Place(tmp_path / "whole", recipe, SETTINGS + settings)
    whole.finish("sft", *options)
    killed = Place(tmp_path / "killed", recipe, SETTINGS + settings)
    started = killed.start("sft", *options)
    wait_for_checkpoint(started, killed, KILLED_AFTER)
    kill_all(started)
    assert killed.artifact("sft") is None
    (partial,) = killed.cache.glob("sft/*.partial")
    last = last_whole_checkpoint(partial / "checkpoints")
    assert last is not None
    epoch = TrainerState.load_from_json(str(last / "trainer_state.json")).epoch
    assert epoch is not None and epoch > 1 and epoch % 1 > 0.1
    ended = killed.finish("sft", *options)
    assert f"sft: going on from {last.name}" in ended.err
    assert killed.weights() == whole.weights()
    counts = [place.manifest("sft")["counts"] for place in (whole, killed)]
    assert counts[1]["resumed_from_step"] == int(last.name.removeprefix("checkpoint-"))
    assert {k: v for k, v in counts[0].items() if k != "resumed_from_step"} == {
        k: v for k, v in counts[1].items() if k != "resumed_from_step"
    }


def test_checkpoints_of_two_processes_are_not_gone_on_from_in_one(
    recipe: str, tmp_path: Path
) -> None:
    place = Place(tmp_path, recipe, SETTINGS)
    started = place.start("sft", *TWO)
    wait_for_checkpoint(started, place, SAVED_EVERY)
    kill_all(started)
    ended = place.start("sft").wait()
    assert ended.code == 2, ended
    assert "expected a checkpoint of 1 process(es) (one process), found one of 2 (ddp)" in ended.err
