"""Full and read-only disks: one clear line, nothing poisoned, and the same command goes on."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from command_line import Outcome, recllm
from faults import Place, check_nothing_half

pytestmark = pytest.mark.usefixtures("one_thread")

#: Free bytes of which each stage can write something, but not all.
FREE = {"ingest": 0, "embed": 4096, "prompts": 8192, "sft": 200_000, "eval": 12288, "report": 0}

PARENTS = {
    "ingest": (),
    "embed": ("split",),
    "prompts": ("sid",),
    "sft": ("prompts",),
    "eval": ("sft", "baselines"),
    "report": ("statistics", "eval"),
}


def call(place: Place, *more: str) -> Outcome:
    places = [f"output_dir={place.run}", f"cache_dir={place.cache}"]
    return recllm("run", place.recipe, *places, *place.overrides, *more)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all of the disk but `leave` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - leave))
    return ballast


def assert_one_line(outcome: Outcome, *parts: str) -> None:
    """It failed, and the last line, the only one of the failure, says why."""
    assert outcome.code == 1, outcome
    assert "Traceback" not in outcome.err
    complaints = [line for line in outcome.err.splitlines() if line.startswith("recllm: ")]
    assert complaints == outcome.err.splitlines()[-1:], outcome.err
    for part in parts:
        assert part in complaints[0]


@pytest.mark.slow
def test_a_full_cache_stops_a_stage_and_nothing_else(disk: Path, whole: Place) -> None:
    shown = Place(disk.parent, whole.recipe)
    place = Place(disk, whole.recipe, (f"output_dir={shown.run}",))
    for stage, leave in FREE.items():
        for parent in PARENTS[stage]:
            assert call(place, "--until", parent).code == 0
        ballast = fill(disk, leave)
        finished = place.finished()
        outcome = call(place, "--until", stage)
        assert_one_line(outcome, "no space is left on the disk of", str(disk), "set ", "free some")
        assert f"{stage} …" in outcome.err
        assert place.artifact(stage) is None
        assert place.finished() == finished
        ballast.unlink()
        check_nothing_half(place, whole)
        check_nothing_half(shown, whole)
    assert call(place).code == 0
    assert shown.metrics() == whole.metrics()
    assert shown.weights() == whole.weights()


@pytest.mark.slow
def test_a_full_output_dir_is_filled_by_the_same_command_later(
    disk: Path, whole: Place, tmp_path: Path
) -> None:
    place = Place(
        tmp_path, whole.recipe, (f"output_dir={disk / 'run'}", f"cache_dir={whole.cache}")
    )
    shown = Place(disk, whole.recipe)
    for leave in (0, 40_000, 80_000):
        ballast = fill(disk, leave)
        assert_one_line(call(place), "no space is left on the disk of", str(disk), "output_dir")
        check_nothing_half(shown, whole)
        ballast.unlink()
    assert call(place).code == 0
    assert shown.metrics() == whole.metrics()
    assert shown.weights() == whole.weights()


@pytest.mark.slow
def test_a_cache_that_is_read_only_serves_what_it_has(disk: Path, whole: Place) -> None:
    subprocess.run(["cp", "-r", str(whole.cache), str(disk)], check=True)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    place = Place(disk.parent, whole.recipe, (f"cache_dir={disk / 'cache'}",))
    assert call(place, "--until", "eval").code == 0
    assert place.metrics() == whole.metrics()
    outcome = call(place, "eval.bootstrap=201")
    assert_one_line(outcome, f"{disk / 'cache'} cannot be written (Read-only file system)")
    assert "set cache_dir" in outcome.err
    outcome = call(place, "--until", "eval", f"output_dir={disk / 'run'}")
    assert_one_line(outcome, f"{disk / 'run'} cannot be written", "set output_dir")
