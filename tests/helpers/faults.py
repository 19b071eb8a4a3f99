"""Runs of the real command line in processes of their own, that can be killed at a moment."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsdp_on_cpu

from recllm.artifacts.manifest import Manifest, find_damage
from recllm.cli.pipeline import build_stages
from recllm.config.loading import load_recipe
from recllm.eval.evaluation import RANKINGS
from recllm.eval.shards import Shard

#: Longer than any wait for a stage to start.
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.001
COMMAND = "from recllm.cli.main import main; main()"
#: Options with which a training is started as fsdp_on_cpu says.
FSDP2 = ("--accelerate", "fsdp2", "--processes", "2")
#: Small tensors are quicker on one thread, and compiled modules make the many starts quicker.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "recllm-compiled"),
}

TINY = """
extends: base/quickstart
data: {source: simulated, users: 300, items: 80, k_core: 3}
embed: {dimensions: 16}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 1}}
model: {from_scratch: {hidden: 32, layers: 1, heads: 2, dropout: 0.1, vocabulary: 320}}
sft: {trainer: {num_train_epochs: 3, per_device_train_batch_size: 16, learning_rate: 5e-3}}
eval: {beams: 20, cutoffs: [5, 10], bootstrap: 200}
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal) and what it wrote."""

    code: int
    out: str
    err: str


class Started:
    """A `recllm` in a process group of its own, its output in files."""

    def __init__(self, arguments: Sequence[str], *, fsdp: bool = False, **options: Any) -> None:
        """Start it; with `fsdp`, a training under FSDP2."""
        self._out, self._err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115
        environment = os.environ | ENVIRONMENT
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = fsdp_on_cpu.command(arguments) if fsdp else ["-c", COMMAND, *arguments]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=self._out, stderr=self._err, env=environment, start_new_session=True, **options,
        )  # fmt: skip

    def signal(self, number: int) -> None:
        """Send a signal to the whole group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Ended:
        """Wait for the end, and kill what has not ended by then."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            raise
        return Ended(code, self.said(self._out), self.said(self._err))

    def said(self, file: Any = None) -> str:
        """What it has written so far; to stderr, if not told otherwise."""
        file = file or self._err
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()

    def wait_until(self, reached: Callable[[], bool]) -> bool:
        """Wait until something is the case; False where the process ends before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            if self.process.poll() is not None:
                return reached()
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                raise TimeoutError(self.said())
            time.sleep(POLL_SECONDS)
        return True


@dataclass(frozen=True)
class Place:
    """A recipe with a run's folder and a cache of its own."""

    folder: Path
    recipe: str
    overrides: tuple[str, ...] = ()

    @property
    def cache(self) -> Path:
        """The cache."""
        return self.folder / "cache"

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    @property
    def stages(self) -> list[str]:
        """The stages of the recipe, in their order."""
        return [stage.name for stage in build_stages(load_recipe(self.recipe, self.overrides))]

    def start(self, command: str = "run", *more: str, **options: Any) -> Started:
        """Start a command on the recipe."""
        places = [f"output_dir={self.run}", f"cache_dir={self.cache}"]
        fsdp = more == FSDP2
        arguments = [command, self.recipe, *places, *self.overrides, *(() if fsdp else more)]
        return Started(arguments, fsdp=fsdp, **options)

    def finish(self, command: str = "run", *more: str) -> Ended:
        """Run a command to its end, which must be a good one."""
        ended = self.start(command, *more).wait(3600)
        assert ended.code == 0, ended
        return ended

    def artifact(self, stage: str) -> Path | None:
        """The stage's finished artifact."""
        found = (self.cache / stage).glob("*/manifest.json")
        return next((p.parent for p in found if p.parent.suffix != ".partial"), None)

    def manifest(self, stage: str) -> dict[str, Any]:
        """The manifest of the stage's finished artifact."""
        artifact = self.artifact(stage)
        assert artifact is not None, stage
        return json.loads((artifact / "manifest.json").read_bytes())

    def finished(self) -> dict[str, tuple[bytes, int]]:
        """The manifests of the finished stages with the times at which they were written."""
        found = {stage.name: self.artifact(stage.name) for stage in self.cache.glob("*")}
        manifests = {name: path / "manifest.json" for name, path in found.items() if path}
        return {name: (p.read_bytes(), p.stat().st_mtime_ns) for name, p in manifests.items()}

    def metrics(self) -> dict[str, Any]:
        """What the run shows as its metrics, but for the cost."""
        metrics = json.loads((self.run / "eval" / "metrics.json").read_bytes())
        return {name: value for name, value in metrics.items() if name != "cost"}

    def weights(self) -> bytes:
        """The model that the run shows."""
        return (self.run / "model" / "model.safetensors").read_bytes()


@dataclass
class Kills:
    """What came of the kills in one stage, and how long after its start the last ones came."""

    stage: str
    seconds: float
    kills: int = 0
    hits: int = 0
    redone: int = 0


def kill_in_stages(
    place: Place,
    seconds: dict[str, float],
    reference: Place,
    hits: int,
    rng: random.Random,
    *,
    last: str | None = None,
) -> list[Kills]:
    """Kill runs in each stage in turn, `hits` times in each; the run is not finished after that.

    A kill hits where the stage was being built as the process died. One that comes too late has
    the stage's artifact deleted, and is tried again, earlier.

    Args:
        seconds: how long after its start each stage may be killed.
        reference: the same recipe, run to its end without a kill.
        hits: how many kills must hit in each stage.
        last: where the runs stop, if not at the report.

    Raises:
        AssertionError: something is left that could be taken for whole.
        RuntimeError: a stage is always over too soon.
    """
    found = []
    for stage, longest in seconds.items():
        tally = Kills(stage, longest)
        while tally.hits < hits:
            if tally.kills > 5 * hits:
                raise RuntimeError(f"{stage} is over before it can be killed: {tally}")
            before = place.finished()
            started = place.start("run", *(("--until", last) if last else ()))
            announced = f"{stage} …\n"
            started.wait_until(lambda run=started, line=announced: line in run.said())
            moment = rng.uniform(0, tally.seconds)
            time.sleep(moment)
            started.signal(signal.SIGKILL)
            ended = started.wait()
            tally.kills += 1
            tally.redone += _redone(before, place.finished())
            check_nothing_half(place, reference)
            if ended.code == -signal.SIGKILL and place.artifact(stage) is None:
                tally.hits += 1
            else:
                tally.seconds = moment
                shutil.rmtree(place.cache / stage)
        found.append(tally)
    return found


def check_nothing_half(place: Place, reference: Place) -> None:
    """Every artifact and everything that the run shows is whole.

    Raises:
        AssertionError: something is not.
    """
    for path in place.cache.glob("*/*"):
        if path.parent.name == RANKINGS:
            assert all(Shard.read(shard) for shard in path.glob("*.safetensors")), path
        elif path.is_dir() and path.suffix != ".partial":
            manifest = Manifest.read(path)
            assert manifest is not None, path
            assert find_damage(path, manifest) is None, path
    if (place.run / "model").exists():
        assert _shown(place.run / "model") == _shown(reference.run / "model")
    for name in ("resolved.yaml", "report.html", "report.md"):
        if (place.run / name).exists():
            assert (place.run / name).read_text().count("\n") > 10
    if (place.run / "eval" / "metrics.json").exists():
        assert place.metrics() == reference.metrics()


def _shown(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def _redone(before: dict[str, Any], after: dict[str, Any]) -> int:
    """How many stages that were finished are not what they were."""
    return sum(after.get(name) != manifest for name, manifest in before.items())
