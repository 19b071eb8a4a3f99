"""The commands that run nothing, and what is said of mistakes."""

import gzip
from pathlib import Path

import pytest
from command_line import recllm
from small_log import LOG

from recllm.cli.pipeline import build_stages
from recllm.config.loading import load_recipe


def test_help_and_version() -> None:
    assert "recommend" in recllm("--help").out
    assert "0.1.0" in recllm("--version").out


def test_recipes_can_be_listed_and_copied(tmp_path: Path) -> None:
    listed = recllm("recipes", "ls").out
    assert "demo" in listed and "movielens-small" in listed
    assert recllm("recipes", "cp", "demo", str(tmp_path)).code == 0
    assert (tmp_path / "demo.yaml").exists()
    again = recllm("recipes", "cp", "demo", str(tmp_path))
    assert again.code == 2 and "exists already" in again.err
    assert recllm("recipes", "cp", "demoo").code == 2


def test_a_recipe_can_be_shown_and_checked(recipe: str) -> None:
    assert "scoring: vocab" in recllm("config", "show", recipe).out
    assert recllm("config", "validate", recipe).out == "valid\n"


def test_doctor_names_what_is_missing() -> None:
    outcome = recllm("doctor")
    assert outcome.code == 0
    assert "torch" in outcome.out and "cores" in outcome.out


def test_doctor_looks_for_the_java_that_spark_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "installed, but no Java was found" in recllm("doctor").out
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.4\" 2024-07-16' >&2\n")
    java.chmod(0o755)
    assert "installed, with Java 21" in recllm("doctor").out


def test_a_dry_run_writes_nothing(recipe: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    outcome = recllm("run", recipe, "--dry-run")
    assert outcome.out.count("would run") == len(build_stages(load_recipe(recipe)))
    assert sorted(tmp_path.rglob("*")) == before


def break_nothing(folder: Path) -> None:
    del folder


def remove_log(folder: Path) -> None:
    (folder / "log.csv").unlink()


def empty_log(folder: Path) -> None:
    (folder / "log.csv").write_text("")


def header_alone(folder: Path) -> None:
    (folder / "log.csv").write_text("user_id,item_id,timestamp\n")


def drop_column(folder: Path) -> None:
    (folder / "log.csv").write_text(LOG.replace("item_id", "thing"))


def cut_gzip(folder: Path) -> None:
    (folder / "log.csv").unlink()
    packed = gzip.compress(LOG.encode())
    (folder / "log.csv.gz").write_bytes(packed[: len(packed) // 2])


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (remove_log, [], "log.csv"),
        (empty_log, [], "log.csv"),
        (header_alone, [], "no interactions"),
        (drop_column, [], "item"),
        (cut_gzip, ["data.path={folder}/log.csv.gz"], "log.csv.gz"),
        (break_nothing, ["data.k_core=50"], "k-core 50 removes all of the 64 interactions"),
        (break_nothing, ["data.min_rating=3"], "the log has no ratings"),
        (break_nothing, ["model.name=/no/such/model"], "model.name"),
        (
            break_nothing,
            ["sid.levels=1", "sid.codes=4", "sid.health.max_collision_rate=1"],
            "found 4 SIDs (1 levels of 4 codes) for 8 items",
        ),
        (break_nothing, ["data.columns={{user: person}}"], "person"),
        (break_nothing, ["--until", "nowhere"], "unknown stage 'nowhere'"),
        (break_nothing, ["data.kcore=3", "sid.lvels=2", "eval.beam=1"], "3 mistakes"),
        (break_nothing, ["prompts.template=alpaca", "sft.targets=all"], "targets: all needs"),
        (break_nothing, ["prompts.template=nothing"], "unknown template"),
    ],
)
def test_a_mistake_is_one_clear_message_and_exit_2(
    recipe: str, tmp_path: Path, damage, arguments: list[str], message: str
) -> None:
    damage(tmp_path)
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    outcome = recllm("run", recipe, "--until", "prompts", *filled)
    assert outcome.code == 2, outcome
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    finished = list((tmp_path / "cache").glob("*/*/manifest.json"))
    assert not any(path.parent.parent.name == "prompts" for path in finished)
    assert not list((tmp_path / "cache").glob("*/*.partial"))
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_there() -> None:
    outcome = recllm("run", "no/such.yaml")
    assert outcome.code == 2
    assert "no recipe 'no/such.yaml'" in outcome.err


def test_a_run_that_is_not_there() -> None:
    outcome = recllm("recommend", "no/such/run", "--history", "a")
    assert outcome.code == 2
    assert "there is no such folder" in outcome.err


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    outcome = recllm("recommend", str(tmp_path), "--history", "a")
    assert outcome.code == 2
    assert "expected a checkpoint, found no recllm.json" in outcome.err


def test_an_option_that_is_not_there() -> None:
    assert recllm("run", "demo", "--dri").code == 2
    assert recllm("rnu", "demo").code == 2
