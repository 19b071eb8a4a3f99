"""What goes wrong in several processes: one line, said once, an exit code, and an end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from faults import ENVIRONMENT, Place

#: Every start of a process takes seconds, and many on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: Longer than any test; it says that it trains at each evaluation.
LONG = ("sft.trainer.max_steps=100000", "sft.trainer.eval_steps=8", "sft.patience=100000")
TWO = ("--accelerate", "ddp", "--processes", "2")


def said(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("recllm: ")]


def test_a_mistake_found_in_preparation_is_said_once(recipe: str, tmp_path: Path) -> None:
    place = Place(tmp_path, recipe, ("sft.trainer.eval_strategy=never",))
    ended = place.start("sft", *TWO).wait()
    assert ended.code == 2, ended
    (line,) = said(ended.err)
    assert "sft.trainer: TRL does not take these settings" in line
    assert "Traceback" not in ended.err


def test_a_mistake_found_in_all_processes_is_said_once(recipe: str, tmp_path: Path) -> None:
    place = Place(tmp_path, recipe, ("sft.trainer.loss_type=dft",))  # with sft.loss: level
    ended = place.start("sft", *TWO).wait()
    assert ended.code == 2, ended
    (line,) = said(ended.err)
    assert "sft.loss: level does not go with sft.trainer.loss_type; set sft.loss: vocab" in line
    assert "Traceback" not in ended.err


def test_a_process_that_dies_ends_the_others(recipe: str, tmp_path: Path) -> None:
    place = Place(tmp_path, recipe, LONG)
    started = place.start("sft", *TWO)
    assert started.wait_until(lambda: "validation hit@10" in started.said())
    family = psutil.Process(started.process.pid).children(recursive=True)
    workers = [p for p in family if p.environ().get("RANK") == "1"]
    workers[-1].send_signal(signal.SIGKILL)
    ended = started.wait()
    assert ended.code == 1, ended
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_says_what_is_kept(recipe: str, tmp_path: Path) -> None:
    place = Place(tmp_path, recipe, LONG)
    started = place.start("sft", *TWO)
    assert started.wait_until(lambda: "validation hit@10" in started.said())
    started.signal(signal.SIGINT)
    ended = started.wait()
    assert ended.code == 1, ended
    kept = "finished and kept: ingest, filter, split, embed, sid, prompts"
    assert any(line.startswith(f"recllm: interrupted in sft; {kept};") for line in said(ended.err))


def test_the_launcher_that_runs_one_process_is_refused(recipe: str, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("accelerate")), "launch", "--cpu"]
    command += ["--num_processes", "2", "-m", "recllm.train", recipe, f"cache_dir={tmp_path}"]
    done = subprocess.run(
        command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    (line,) = said(done.stderr)
    assert "expected several processes, found this one alone" in line
    assert not list(tmp_path.iterdir())


def test_fewer_processes_than_asked_for_are_refused(recipe: str, tmp_path: Path) -> None:
    single = tmp_path / "single.yaml"
    single.write_text("distributed_type: MULTI_CPU\n")  # of which accelerate starts one process
    place = Place(tmp_path / "place", recipe)
    ended = place.start("sft", "--accelerate", str(single), "--processes", "2").wait()
    assert ended.code == 2, ended
    (line,) = said(ended.err)
    assert "expected 2 processes, found 1" in line
    assert not place.cache.exists()
