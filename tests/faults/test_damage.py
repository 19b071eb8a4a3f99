"""Artifacts that somebody damaged: noticed, said, rebuilt, and nothing else is."""

import shutil
from pathlib import Path

import pytest
from faults import Place

from recllm.cli.pipeline import STAGES, build_stages
from recllm.cli.run_folder import CHECKPOINTS, EXTENDED, SHOWN
from recllm.config.loading import load_recipe


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.slow
def test_damaged_artifacts_are_rebuilt_and_nothing_else_is(whole: Place, tmp_path: Path) -> None:
    place = Place(tmp_path, whole.recipe)
    shutil.copytree(whole.cache, place.cache)
    damages = {
        "ingest": ("interactions.parquet", cut, "bytes instead of"),
        "sid": ("sids.parquet", Path.unlink, "sids.parquet is missing"),
        "prompts": ("manifest.json", cut, "manifest is missing or unreadable"),
        "sft": ("model/model.safetensors", flip, "model/model.safetensors was changed"),
    }
    for stage, (name, damage, _) in damages.items():
        artifact = place.artifact(stage)
        assert artifact is not None
        damage(artifact / name)
    planned = place.finish("eval", "--dry-run").out
    ended = place.finish("eval")
    for stage, (_, _, reason) in damages.items():
        (line,) = [line for line in ended.err.splitlines() if line.startswith(f"{stage}: rebuild")]
        assert reason in line
        if stage in ("ingest", "sid"):  # of the others it says that a parent will run
            assert any(line.startswith(stage) and reason in line for line in planned.splitlines())
    lines = [line for line in ended.out.splitlines() if line.split()[:1] and line[0] != " "]
    built = [line.split()[0] for line in lines if " s  " in line]
    assert built == list(damages)
    assert place.metrics() == whole.metrics()
    assert place.weights() == whole.weights()


def test_what_can_be_taken_away_is_what_the_stages_show() -> None:
    shown: dict[str, set[str]] = {"eval": {CHECKPOINTS}, "sid extend": {EXTENDED}}
    candidates = "eval.candidates.negatives=9"
    for recipe in ("demo", "tiny/minionerec-rl"):  # sft shows its model elsewhere before rl
        for stage in build_stages(load_recipe(recipe, [candidates])):
            shown.setdefault(stage.name, set()).update(stage.publishes.values())
    assert {name: names for name, names in shown.items() if names} == {
        name: set(names) for name, names in SHOWN.items()
    }
    order = list(SHOWN)
    assert [name for name in STAGES if name in SHOWN] == [n for n in order if n != "sid extend"]
    assert order.index("rl") < order.index("sid extend") < order.index("eval")
