"""Ctrl-C in a real process: one line that says what is kept, no traceback."""

import re
import signal
from pathlib import Path

import pytest
from faults import Ended, Place

LONG = "sft.trainer.num_train_epochs=40"


def assert_one_line(ended: Ended, pattern: str) -> None:
    assert ended.code == 1, ended
    assert "Traceback" not in ended.err and "Exception ignored" not in ended.err
    said = [line for line in ended.err.splitlines() if line.startswith("recllm: ")]
    assert len(said) == 1, ended
    assert re.fullmatch(f"recllm: {pattern}", said[0]), said[0]


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_in_a_stage_that_starts_again(recipe: str, tmp_path: Path, presses: int) -> None:
    place = Place(tmp_path, recipe)
    started = place.start("prep")
    assert started.wait_until(lambda: "ingest …\n" in started.said())
    for _ in range(presses):
        started.signal(signal.SIGINT)
    assert_one_line(
        started.wait(),
        "interrupted in ingest; finished and kept: nothing yet; "
        "the same command goes on with ingest from its start",
    )
    assert not place.run.exists()
    assert place.finish("prep").out.count(" s  ") == 6


@pytest.mark.slow
def test_in_training_from_its_first_step_to_a_checkpoint(whole: Place, tmp_path: Path) -> None:
    place = Place(tmp_path, whole.recipe, (LONG, "sft.patience=40"))
    kept = "finished and kept: ingest, filter, split, embed, sid, prompts"
    started = place.start("sft")
    assert started.wait_until(lambda: "sft …\n" in started.said())
    started.signal(signal.SIGINT)
    assert_one_line(
        started.wait(),
        f"interrupted in sft; {kept}; the same command goes on with sft from its start",
    )
    started = place.start("sft")
    assert started.wait_until(lambda: "sft: epoch 2 of 40" in started.said())
    started.signal(signal.SIGINT)
    ended = started.wait()
    assert_one_line(
        ended,
        rf"interrupted in sft; {kept}; "
        r"the same command goes on in sft from epoch \d+ of 40 \(checkpoint-\d+\)",
    )
    assert not (place.run / "model").exists()
    checkpoint = ended.err[ended.err.index("(checkpoint-") + 1 :].split(")")[0]
    started = place.start("sft")
    assert started.wait_until(lambda: "sft: going on from" in started.said())
    assert f"sft: going on from {checkpoint}\n" in started.said()
    for _ in range(2):
        started.signal(signal.SIGINT)
    assert_one_line(started.wait(), r"interrupted in sft; .*")
