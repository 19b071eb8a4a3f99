"""What is said of Ctrl-C, where no stage is being built."""

from pathlib import Path

import pytest
from command_line import recllm
from small_log import LOG

from recllm.artifacts.cache import Cache
from recllm.cli import pipeline


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_run_that_waits_says_so_and_what_is_cached(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recllm("run", recipe, "--until", "filter").code == 0
    monkeypatch.setattr("recllm.cli.run_folder.occupied", interrupt)
    outcome = recllm("run", recipe)
    assert outcome.code == 1
    assert outcome.err == (
        f"recllm: interrupted while waiting for another run that writes to {tmp_path / 'run'}; "
        "finished and kept: ingest, filter; that run goes on, and the same command waits for it "
        "again\n"
    )


def test_a_stage_that_is_interrupted_is_named(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recllm("run", recipe, "--until", "ingest").code == 0
    monkeypatch.setattr(Cache, "build", interrupt)
    assert recllm("run", recipe).err.splitlines()[-1] == (
        "recllm: interrupted in filter; finished and kept: ingest; the same command goes on with "
        "filter from its start"
    )


def test_checkpoints_that_are_evaluated_are_explained(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "recllm.json").write_text("{}")
    monkeypatch.setattr("recllm.eval.evaluation.evaluate", interrupt)
    monkeypatch.setattr("recllm.models.checkpoint_check.check_checkpoint", lambda _: None)
    outcome = recllm("eval", recipe, "--checkpoint", str(tmp_path / "m"))
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == (
        "recllm: interrupted in eval --checkpoint; finished and kept: ingest, filter, split, "
        "baselines; the same command goes on with what has not been ranked yet"
    )
    assert not list((tmp_path / "run").glob("[!.]*"))


def test_a_full_disk_under_checkpoints_is_the_output_dirs(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise RuntimeError("No space left on device")

    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "recllm.json").write_text("{}")
    monkeypatch.setattr("recllm.eval.evaluation.evaluate", fill)
    monkeypatch.setattr("recllm.models.checkpoint_check.check_checkpoint", lambda _: None)
    outcome = recllm("eval", recipe, "--checkpoint", str(tmp_path / "m"))
    assert outcome.code == 1
    assert f"no space is left on the disk of {tmp_path / 'run'}" in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err


def test_keys_follow_from_what_the_parents_were_built_of(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run finds in the cache is what it would have built."""
    assert recllm("run", recipe, "--until", "filter").code == 0
    true_keys = pipeline.stage_keys
    monkeypatch.setattr(
        pipeline, "stage_keys", lambda found: dict.fromkeys(true_keys(found), "0" * 16)
    )
    again = recllm("run", recipe, "--until", "filter")
    assert again.out.count("cached") == 2


def test_cuts_are_announced_as_points_in_time(recipe: str, tmp_path: Path) -> None:
    log = LOG.splitlines()
    days = [f"{line.rsplit(',', 1)[0]},2020-01-{1 + n % 28:02}" for n, line in enumerate(log[1:])]
    (tmp_path / "log.csv").write_text("\n".join([log[0], *days]) + "\n")
    outcome = recllm("run", recipe, "--until", "split", "data.split=temporal")
    assert outcome.code == 0, outcome.err
    assert "valid_from 2020-01-" in outcome.out and "test_from 2020-01-" in outcome.out
