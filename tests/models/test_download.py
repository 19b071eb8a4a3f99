"""Checkpoints by their Hub id, through the Hub's own client and a stand-in of the Hub."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import recllm
from hub_client import ask, environment
from huggingface_hub import constants
from local_hub import COMMIT, LocalHub, local_hub
from small_models import make_model
from smallest_run import RECIPE

from recllm.models.download import download_checkpoint, is_checkpoint_id
from recllm.models.references import DESCRIPTION

UNWANTED = ("pytorch_model.bin", "training_args.pickle", "README.md", "other/config.json")


def make_checkpoint(folder: Path) -> Path:
    """What has the files of a checkpoint, and others."""
    folder.mkdir()
    make_model().save_pretrained(folder)
    for name in (DESCRIPTION, "tokenizer.json", "items.parquet", "merges.txt", *UNWANTED):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder


def refused(recipe: str, name: str, *others: str) -> str:
    outcome = recllm("eval", recipe, "--checkpoint", name, *others)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    line = outcome.err.splitlines()[-1]
    assert line.startswith(f"recllm: --checkpoint {name}: ")
    return line


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    return str(tmp_path / "recipe.yaml")


def test_only_what_a_checkpoint_has_is_downloaded_and_only_once(
    hub: LocalHub, tmp_path: Path
) -> None:
    source = hub.repos["ann/shop"] = make_checkpoint(tmp_path / "source")
    found = download_checkpoint("ann/shop")
    assert found.name == COMMIT
    wanted = {path.name for path in source.iterdir() if path.is_file()} - set(UNWANTED)
    assert wanted == {path.name for path in found.rglob("*")}
    assert {"model.safetensors", "config.json", DESCRIPTION} <= wanted
    for name in wanted:
        assert (found / name).read_bytes() == (source / name).read_bytes()
    assert sorted(hub.sent) == sorted(wanted)
    assert download_checkpoint("ann/shop@v1") == found
    assert sorted(hub.sent) == sorted(wanted)


@pytest.mark.slow
def test_a_downloaded_checkpoint_is_evaluated_as_its_folder_is(tmp_path: Path, recipe: str) -> None:
    outcome = recllm("run", recipe, "--until", "eval")
    assert outcome.code == 0, outcome.err
    first = json.loads((tmp_path / "run/eval/metrics.json").read_text())
    shutil.copytree(tmp_path / "run/model", tmp_path / "pushed")
    with local_hub() as hub:
        hub.repos["ann/shop"] = tmp_path / "pushed"
        variables = environment(hub.url, tmp_path / "home")
        script = str(Path(sys.executable).with_name("recllm"))
        command = [script, "eval", recipe, "--checkpoint", "ann/shop@v1"]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "model.safetensors" in hub.sent
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("ann/shop@v1 "))
    assert row.split()[1] == f"{first['metrics']['hit@10']['value']:.4f}"
    second = json.loads((tmp_path / "run/eval/checkpoints/0/metrics.json").read_text())
    assert second["checkpoint"] == "ann/shop@v1"
    assert second["metrics"] == first["metrics"]


def test_a_folder_wins_over_the_hub(
    hub: LocalHub, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["ann/shop"] = make_checkpoint(tmp_path / "source")
    (tmp_path / "ann/shop").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "found no recllm.json" in refused(recipe, "ann/shop")
    assert not hub.sent


def test_a_dry_run_downloads_no_weights(hub: LocalHub, recipe: str, tmp_path: Path) -> None:
    hub.repos["ann/shop"] = make_checkpoint(tmp_path / "source")
    outcome = recllm("eval", recipe, "--checkpoint", "ann/shop", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1].split() == ["eval", "ann/shop"]
    assert hub.sent == [DESCRIPTION]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "RepoNotFound", "the Hub has no repository ann/shop that may be read"),
        (404, "RepoNotFound", "the Hub has no repository ann/shop that may be read"),
        (401, "GatedRepo", "ann/shop is gated: accept its conditions on its page"),
        (403, "GatedRepo", "ann/shop is gated: accept its conditions on its page"),
        (403, "", "the Hub refuses this to this account"),
        (503, "", "the Hub cannot be reached: "),
    ],
)
def test_what_the_hub_refuses(
    hub: LocalHub, recipe: str, status: int, code: str, said: str
) -> None:
    hub.refused["ann/shop"] = (status, code)
    line = refused(recipe, "ann/shop")
    assert "there is no such folder, and " in line and said in line
    assert not hub.sent


def test_what_is_not_there(hub: LocalHub, recipe: str, tmp_path: Path) -> None:
    source = hub.repos["ann/shop"] = make_checkpoint(tmp_path / "source")
    assert "ann/shop has no revision v9" in refused(recipe, "ann/shop@v9")
    assert "no repository a--b/shop" in refused(recipe, "a--b/shop")
    (source / DESCRIPTION).unlink()
    line = refused(recipe, "ann/shop")
    assert f"is no recllm checkpoint: it has no {DESCRIPTION}" in line
    assert not hub.sent


def test_offline_only_what_is_in_the_cache_is_found(
    hub: LocalHub, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["ann/shop"] = make_checkpoint(tmp_path / "source")
    found = download_checkpoint("ann/shop")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download_checkpoint("ann/shop") == found
    assert "where HF_HUB_OFFLINE is set" in refused(recipe, "ann/other")


def test_nobody_listens(hub: LocalHub, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("http://127.0.0.1:9", monkeypatch)  # the port of `discard`
    assert "the Hub cannot be reached: " in refused(recipe, "ann/shop")


@pytest.mark.parametrize("name", [DESCRIPTION, "model.safetensors"])
def test_a_dropped_connection(hub: LocalHub, recipe: str, tmp_path: Path, name: str) -> None:
    source = hub.repos["ann/shop"] = make_checkpoint(tmp_path / "source")
    hub.broken.add(name)
    assert "the Hub cannot be reached: " in refused(recipe, "ann/shop")
    hub.broken.clear()
    found = download_checkpoint("ann/shop")
    assert (found / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("ann/shop", True), ("ann/shop@v1", True), ("runs/a.b-c_d", True),
        ("shop", False), ("runs/a/model", False), ("../shop", False), ("./shop", False),
        ("runs/*", False), ("/ann/shop", False), ("ann/shop@", False), ("ann/shop@a@b", False),
    ],
)  # fmt: skip
def test_names_that_may_be_on_the_hub(name: str, is_id: bool) -> None:
    assert is_checkpoint_id(name) == is_id
