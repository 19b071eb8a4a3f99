"""Both engines on real rows with the SIDs that MiniOneRec gave, of which some are shared."""

import importlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recllm.catalog.histories import Sequences, SplitRows
from recllm.cli import pipeline
from recllm.config.loading import load_recipe
from recllm.eval.evaluation import count_invalid, known_of
from recllm.eval.phrasings import ask
from recllm.models.checkpoint_files import load_renderer

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
ROWS = 400


def test_the_engines_agree_on_industrial(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    industrial: Any = importlib.import_module("benchmarks._industrial")
    written = industrial.write_recipe(tmp_path, real_data / "minionerec-industrial")
    few = "sft.trainer.max_steps=60"
    artifacts = pipeline.run(load_recipe(written, (few,)), "sft")
    split, model = artifacts["split"].path, artifacts["sft"].path / "model"
    sequences = Sequences.read(split)
    rows = SplitRows.read(split, "test", sequences).select(np.arange(ROWS))
    renderer, found, invalid = load_renderer(model), {}, {}
    for name in ("transformers", "vllm"):
        recipe = load_recipe(written, (few, f"eval.engine={name}"))
        known = known_of(recipe, renderer, sequences, split, len(renderer.catalog.sids))
        asked = ask(renderer, rows, recipe.eval)
        with closing(recipe.eval.engine.open(model, known, recipe.eval, "float32")) as ranker:
            found[name] = ranker.rank(asked)
        invalid[name] = count_invalid(found[name], asked.exclude, len(renderer.catalog.sids)).sum()
    one, other = found.values()
    assert (one.items >= 0).all() and (other.items >= 0).all()
    assert np.abs(one.scores - other.scores).max() < 1e-4
    assert (one.items[:, :10] == other.items[:, :10]).all(axis=1).mean() >= 0.995
    assert invalid == {"transformers": 0, "vllm": 0}
    assert one.scores[:, 0].std() > 0.01  # the model has learnt to tell rows apart
