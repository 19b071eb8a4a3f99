"""`recllm sft --accelerate`: what is started, and what is refused before anything is."""

import importlib.util
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from command_line import recllm

from recllm.cli import launch
from recllm.config.loading import shipped_recipes


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(launch, "_count_gpus", lambda: count)


def refused(recipe: str, *options: str) -> str:
    outcome = recllm("sft", recipe, *options)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    return outcome.err


@pytest.mark.parametrize("name", launch.shipped_configs())
def test_accelerate_reads_the_shipped_configurations(name: str) -> None:
    path = launch.shipped_configs()[name]
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig) and config.num_processes >= 1
    assert config.to_dict()["distributed_type"] == launch.read_config(path)["distributed_type"]


def test_the_shipped_configurations_are_those_of_the_help_and_are_no_recipes() -> None:
    said = " ".join(recllm("sft", "--help").out.split())
    assert set(launch.shipped_configs()) == {"ddp", "zero2", "zero2-offload", "zero3", "fsdp2"}
    assert all(name in said for name in launch.shipped_configs())
    assert not any(name.startswith("accelerate") for name in shipped_recipes())


def test_the_command_is_printed(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 4)
    options = ["--accelerate", "ddp", "--dry-run", "seed=1"]
    out = recllm("sft", recipe, *options).out
    assert "would run" in out
    config = launch.shipped_configs()["ddp"]
    assert out.splitlines()[-1] == (
        f"accelerate launch --config_file {config} --num_processes 4 --main_process_port 0 "
        f"-m recllm.train {recipe} seed=1"
    )


@pytest.mark.parametrize(
    ("here", "name", "given", "expected"),
    [(4, "ddp", None, 4), (4, "mine", None, 2), (0, "ddp", None, 2), (4, "ddp", 3, 3)],
)
def test_how_many_processes(
    here: int, name: str, given: int | None, expected: int, request: pytest.FixtureRequest
) -> None:
    gpus(request.getfixturevalue("monkeypatch"), here)
    mine = request.getfixturevalue("tmp_path") / "mine.yaml"
    mine.write_text(yaml.safe_dump({"distributed_type": "MULTI_GPU", "num_processes": 2}))
    launched = launch.plan_launch(str(mine) if name == "mine" else name, given, [])
    assert launched.processes == expected


def test_an_unknown_name_is_refused_with_the_nearest(recipe: str) -> None:
    assert "unknown configuration 'zero-2'; did you mean 'zero2'?" in refused(
        recipe, "--accelerate", "zero-2"
    )
    assert "there is no such file" in refused(recipe, "--accelerate", "mine.yaml")


def test_a_file_that_is_no_configuration_is_refused(recipe: str, tmp_path: Path) -> None:
    for text in ("[1, 2", "- 1", "seed: 1"):
        (tmp_path / "mine.yaml").write_text(text)
        assert "--accelerate: " in refused(recipe, "--accelerate", str(tmp_path / "mine.yaml"))


def test_more_processes_than_gpus_are_refused(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    err = refused(recipe, "--accelerate", "ddp", "--processes", "3")
    assert "expected at most one for each GPU of this machine (2), found 3" in err


def test_deepspeed_that_is_not_installed_is_named(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "deepspeed" else find(name)
    )
    assert "pip install 'recllm[deepspeed]'" in refused(recipe, "--accelerate", "zero2")


def test_sharding_by_fsdp_needs_a_gpu(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert "use ddp or zero3" in refused(recipe, "--accelerate", "fsdp2")


def test_processes_need_a_way_to_train_together(recipe: str, tmp_path: Path) -> None:
    assert "--accelerate ddp" in refused(recipe, "--processes", "2")
    single = tmp_path / "single.yaml"
    single.write_text("distributed_type: 'NO'")
    options = ["--accelerate", str(single), "--processes", "2"]
    assert "starts one process, but 2 are asked for" in refused(recipe, *options)
    assert "say how many processes" in refused(recipe, "--accelerate", str(single))


def test_a_lock_that_a_killed_compilation_left_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock = tmp_path / "cpu_adam" / "lock"
    lock.parent.mkdir()
    lock.touch()
    launch.plan_launch("ddp", 2, ["demo"])
    assert not caplog.messages
    launch.plan_launch("zero2-offload", 2, ["demo"])
    (message,) = caplog.messages
    assert str(lock) in message and "delete it" in message
