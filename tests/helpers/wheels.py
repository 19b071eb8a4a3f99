"""A wheel of this checkout, and environments that have nothing else of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def call(command: list[str], folder: Path, variables: Mapping[str, str] = os.environ) -> str:
    """What a program that must succeed prints, called in a folder.

    Args:
        variables: of its environment, but those that would show it this checkout.
    """
    environment = {k: v for k, v in variables.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["UV_FIND_LINKS"] = os.environ.get("PIP_FIND_LINKS", "")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel(copy: Path, out: Path) -> Path:
    """A wheel in `out`, of what git tracks, or would track, and nothing else.

    Args:
        copy: an empty folder, where it is built.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    assert UV, "make setup installs uv"
    call([UV, "build", "--wheel", "--quiet", "--out-dir", str(out), str(copy)], copy)
    (built,) = out.glob("*.whl")
    return built


def install(wheel: Path, environment: Path) -> Path:
    """A new environment with the wheel and what it needs; the folder of its programs."""
    assert UV
    folder = environment.parent
    call([UV, "venv", "--quiet", "--python", sys.executable, str(environment)], folder)
    programs = environment / "bin"
    pip = [UV, "pip", "install", "--quiet", "--python", str(programs / "python")]
    call([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], folder)
    return programs
