"""The wheel, built from a clean copy, works in a clean environment, in another folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

pytestmark = pytest.mark.slow


def call(command: list[str], folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["UV_FIND_LINKS"] = os.environ.get("PIP_FIND_LINKS", "")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from what git tracks, or would track, and nothing else."""
    copy = tmp_path_factory.mktemp("copy")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    assert UV, "make setup installs uv"
    call([UV, "build", "--wheel", "--quiet", "--out-dir", str(out), str(copy)], copy)
    (built,) = out.glob("*.whl")
    return built


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


def test_it_works_in_a_clean_environment_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    assert UV
    environment = tmp_path / "env"
    call([UV, "venv", "--quiet", "--python", sys.executable, str(environment)], tmp_path)
    python = str(environment / "bin" / "python")
    constraints = str(ROOT / "constraints.txt")
    install = [UV, "pip", "install", "--quiet", "--python", python, "-c", constraints]
    call([*install, str(wheel)], tmp_path)
    recllm = str(environment / "bin" / "recllm")
    assert "demo" in call([recllm, "recipes", "ls"], tmp_path)
    doctor = call([recllm, "doctor"], tmp_path)
    assert "torch" in doctor and "pip install 'recllm[deepspeed]'" in doctor
    location = "import recllm.eval, recllm.data_prep; print(recllm.eval.__file__)"
    assert str(environment) in call([python, "-c", location], tmp_path)
    copied = call([recllm, "recipes", "cp", "demo", "mine.yaml"], tmp_path)
    assert "mine.yaml" in copied
    assert "would run" in call([recllm, "run", "mine.yaml", "--dry-run"], tmp_path)


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
