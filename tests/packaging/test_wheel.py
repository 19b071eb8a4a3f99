"""The wheel, built from a clean copy, works in a clean environment, in another folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from wheels import ROOT, call

pytestmark = pytest.mark.slow


def test_the_wheel_holds_recllm_alone_and_is_small(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"recllm"}
    assert "recllm/recipes/demo.yaml" in names
    assert "recllm/recipes/accelerate/zero2.yaml" in names
    assert "recllm/prompts/templates/plain.yaml" in names
    assert "recllm/hub/card.md.j2" in names
    assert any(name.startswith("recllm/eval/report/") and name.endswith(".j2") for name in names)
    assert not any("benchmarks" in name or "tests" in name for name in names)
    assert wheel.stat().st_size < 1_000_000


def test_it_works_in_a_clean_environment_from_another_folder(
    programs: Path, tmp_path: Path
) -> None:
    recllm, python = str(programs / "recllm"), str(programs / "python")
    assert "demo" in call([recllm, "recipes", "ls"], tmp_path)
    doctor = call([recllm, "doctor"], tmp_path)
    assert "torch" in doctor and "pip install 'recllm[deepspeed]'" in doctor
    location = "import recllm.eval, recllm.data_prep; print(recllm.eval.__file__)"
    assert str(programs.parent) in call([python, "-c", location], tmp_path)
    copied = call([recllm, "recipes", "cp", "demo", "mine.yaml"], tmp_path)
    assert "mine.yaml" in copied
    assert "would run" in call([recllm, "run", "mine.yaml", "--dry-run"], tmp_path)
    short = "sft.trainer.num_train_epochs=1"  # the demo but for its other eleven
    ran = call([recllm, "run", "mine.yaml", short], tmp_path)
    assert "report: runs/demo/report.html" in ran
    assert "covisitation" in ran and (tmp_path / "runs/demo/report.html").stat().st_size > 100_000


@pytest.mark.parametrize("name", ["data_prep", "eval", "recipes"])
def test_a_mapped_folder_refuses_to_be_a_package_of_its_own(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"import recllm.{name}" in done.stderr
