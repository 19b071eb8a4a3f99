"""Evaluations that are killed, that several processes share, and that run at the same time."""

import shutil
import time
from pathlib import Path

import pytest
from faults import Place
from killing import kill_all

#: Every start of a process takes seconds, and many on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECIPE = """
extends: base/quickstart
data: {source: simulated, users: 3500, items: 80, k_core: 3}
embed: {dimensions: 8}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 5}}
model: {from_scratch: {hidden: 32, layers: 2, heads: 2, dropout: 0, vocabulary: 300}}
sft: {validation_users: 60, trainer: {max_steps: 10}}
eval: {beams: 20, cutoffs: [5, 10], bootstrap: 200}
"""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An evaluation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("evaluated")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE)
    place = Place(folder, str(recipe))
    place.finish("eval")
    assert len(list(place.cache.glob("rankings/*/*.safetensors"))) > 2
    return place


def not_yet(evaluated: Place, folder: Path) -> Place:
    """The same run before it is evaluated."""
    shutil.copytree(evaluated.cache, folder / "cache")
    for name in ("eval", "rankings"):
        shutil.rmtree(folder / "cache" / name)
    return Place(folder, evaluated.recipe)


def predictions(place: Place) -> bytes:
    return (place.run / "eval" / "predictions.parquet").read_bytes()


def shards(place: Place) -> dict[Path, int]:
    found = place.cache.glob("rankings/*/*.safetensors")
    return {path: path.stat().st_mtime_ns for path in found}


def test_killed_it_goes_on_from_its_shards_to_the_same_file(
    evaluated: Place, tmp_path: Path
) -> None:
    place = not_yet(evaluated, tmp_path)
    started = place.start("eval")
    assert started.wait_until(lambda: bool(shards(place)))
    kill_all(started)
    kept = shards(place)
    assert not (place.run / "eval").exists() and place.artifact("eval") is None
    place.finish("eval")
    assert kept.items() <= shards(place).items()
    assert predictions(place) == predictions(evaluated)
    assert place.metrics() == evaluated.metrics()


def test_two_processes_find_what_one_does(evaluated: Place, tmp_path: Path) -> None:
    place = not_yet(evaluated, tmp_path)
    ended = place.finish("eval", "--processes", "2")
    assert "-m recllm.eval" in ended.out
    assert predictions(place) == predictions(evaluated)
    assert place.metrics() == evaluated.metrics()


def test_several_processes_and_checkpoints(evaluated: Place, tmp_path: Path) -> None:
    place = not_yet(evaluated, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(evaluated.run / "model", other)
    named = ("--checkpoint", str(evaluated.run / "model"), "--checkpoint", str(other))
    ended = place.finish("eval", "--processes", "2", *named)
    (folder,) = (place.run / "eval").glob("*/0/..")
    found = [(folder / name / "predictions.parquet").read_bytes() for name in ("0", "1")]
    assert found == [predictions(evaluated)] * 2
    assert str(other) in ended.out


def test_two_at_once_do_no_harm(evaluated: Place, tmp_path: Path) -> None:
    place = not_yet(evaluated, tmp_path)
    one = place.start("eval")
    time.sleep(0.5)
    two = place.start("eval")
    assert [one.wait(1200).code, two.wait(1200).code] == [0, 0]
    assert predictions(place) == predictions(evaluated)
    assert place.metrics() == evaluated.metrics()
    assert not list(place.cache.glob("rankings/*/.unfinished*"))


def test_a_mistake_ends_all_processes(evaluated: Place, tmp_path: Path) -> None:
    place = not_yet(evaluated, tmp_path)
    ended = place.start("eval", "--processes", "2", "--checkpoint", str(tmp_path)).wait(600)
    assert ended.code == 2
    assert (
        ended.err.count("expected a checkpoint, found no recllm.json") == 1
        and "Traceback" not in ended.err
    )
