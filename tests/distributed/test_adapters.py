"""LoRA and the rows of SID tokens, trained in one process and under ZeRO-2 in two."""

import json
from pathlib import Path

import numpy as np
import pytest
from faults import Place
from safetensors.torch import load_file
from tunable import save_base

from recllm.catalog.histories import Sequences, SplitRows
from recllm.models.recommender import Recommender
from recllm.models.tuned import TunedModel

#: Every start of a process takes seconds, and many on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STEPS, TOLERANCE = 30, 1e-3
ROWS = 2 * 16  # two levels of 16 codes: the rows that are trained, of the embedding and the head
TWO = ("--accelerate", "zero2", "--processes", "2", "sft.trainer.per_device_train_batch_size=8")


def losses(place: Place) -> list[float]:
    lines = (place.run / "metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def test_an_adapter_under_zero2_is_the_one_of_one_process(recipe: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tied=False)
    overrides = (
        "model.from_scratch=null",
        f"model.name={base}",
        "model.tuning=lora",
        "model.lora={rank: 4, alpha: 8, dropout: 0}",
        "sft.loss=vocab",
        "eval.scoring=vocab",
        f"sft.trainer.max_steps={STEPS}",
        *(f"sft.trainer.{name}_steps={STEPS}" for name in ("eval", "save")),
    )
    one, two = (Place(tmp_path / name, recipe, overrides) for name in ("one", "two"))
    one.finish("sft")
    two.finish("sft", *TWO)
    assert two.manifest("sft")["counts"]["processes"] == 2
    assert len(losses(one)) == len(losses(two)) == STEPS
    assert np.abs(np.subtract(losses(one), losses(two))).max() < TOLERANCE
    assert losses(one)[-1] < losses(one)[0] - 0.5  # or there would be little to agree on
    first, second = (load_file(p.run / "model" / "adapter_model.safetensors") for p in (one, two))
    assert first.keys() == second.keys()
    assert any("lora_B" in name and weight.any() for name, weight in second.items())
    rows = [weight for name, weight in second.items() if "trainable_tokens" in name]
    assert [len(weight) for weight in rows] == [ROWS, ROWS]
    split = one.artifact("split")
    assert split is not None
    test = SplitRows.read(split, "test", Sequences.read(split))
    asked = [test.history(i) for i in range(len(test))]
    loaded = [Recommender.load(place.run / "model") for place in (one, two)]
    assert all(isinstance(recommender.model, TunedModel) for recommender in loaded)
    expected, found = (recommender.rank(asked, beams=10).scores for recommender in loaded)
    np.testing.assert_allclose(found, expected, atol=5e-3)
