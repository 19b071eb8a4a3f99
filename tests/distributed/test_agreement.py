"""One process and several train alike: the same losses, metrics and rankings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Place

from recllm.catalog.histories import Sequences, SplitRows
from recllm.models.recommender import Recommender

#: Every start of a process takes seconds, and many on a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WAYS = [
    ("vocab", "ddp"),
    ("vocab", "zero2"),
    ("vocab", "zero3"),
    ("vocab", "fsdp2"),
    ("level", "ddp"),
    ("level", "zero3"),
]
STEPS = 32
Train = Callable[..., Place]
TOLERANCE = 1e-3
BF16 = (
    "model.dtype=bfloat16", "sft.loss=vocab", "eval.scoring=vocab",
    "sft.trainer.per_device_train_batch_size=8",
)  # fmt: skip


def log_of(place: Place) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place.run / "metrics.jsonl").read_text().splitlines()]


def losses(place: Place) -> list[float]:
    return [row["loss"] for row in log_of(place) if "loss" in row]


def validation(place: Place) -> dict[str, float]:
    (row,) = (row for row in log_of(place) if "eval_ndcg@10" in row)
    return {name: row[name] for name in ("eval_hit@10", "eval_ndcg@10")}


def histories(place: Place) -> list[Any]:
    split = place.artifact("split")
    assert split is not None
    rows = SplitRows.read(split, "test", Sequences.read(split))
    return [rows.history(i) for i in range(len(rows))]


def ranked(place: Place, asked: list[Any]) -> Any:
    return Recommender.load(place.run / "model").rank(asked, beams=10)


@pytest.mark.parametrize(("loss", "way"), WAYS)
def test_two_processes_train_as_one_does(trained: Train, loss: str, way: str) -> None:
    one = trained(loss)
    two = trained(loss, "--accelerate", way, "--processes", "2")
    assert two.manifest("sft")["counts"]["processes"] == 2
    assert len(losses(one)) == len(losses(two)) == STEPS
    assert np.abs(np.subtract(losses(one), losses(two))).max() < TOLERANCE
    assert losses(one)[-1] < losses(one)[0] - 0.5  # or there would be little to agree on
    assert validation(one) == pytest.approx(validation(two), abs=0.02)
    counts = [place.manifest("sft")["counts"] for place in (one, two)]
    assert counts[0]["tokens"] == counts[1]["tokens"]
    assert counts[0]["parameters"] == counts[1]["parameters"]


@pytest.mark.parametrize(("loss", "way"), WAYS)
def test_what_several_trained_ranks_in_one_process_as_what_one_trained(
    trained: Train, loss: str, way: str
) -> None:
    one = trained(loss)
    two = trained(loss, "--accelerate", way, "--processes", "2")
    asked = histories(one)
    expected, found = ranked(one, asked), ranked(two, asked)
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3)
    # Where scores are as near as that to each other, the order may differ.
    gaps = -np.diff(expected.scores, axis=1, append=-np.inf)
    clear = np.minimum(gaps, np.roll(gaps, 1, axis=1)) > 4e-3
    clear[:, 0] = gaps[:, 0] > 4e-3
    assert clear.mean() > 0.8
    assert (found.items == expected.items)[clear].all()


@pytest.mark.parametrize("way", ["zero2", "fsdp2"])
def test_bf16_is_as_near_to_fp32_in_two_processes_as_its_precision_lets_it(
    trained: Train, recipe: str, tmp_path: Path, way: str
) -> None:
    place = Place(tmp_path, recipe, BF16)
    place.finish("sft", "--accelerate", way, "--processes", "2")
    differences = np.abs(np.subtract(losses(place), losses(trained("vocab"))))
    assert 0 < differences.max() < 0.05  # it was bf16, and nothing else


def test_the_data_is_prepared_once_and_shown_once(recipe: str, tmp_path: Path) -> None:
    place = Place(tmp_path, recipe, ("sft.trainer.max_steps=32",))
    ended = place.finish("sft", "--accelerate", "ddp", "--processes", "2")
    stages = [line.split()[0] for line in ended.out.splitlines()[1:] if line.strip()]
    assert stages == ["ingest", "filter", "split", "embed", "sid", "prompts", "sft"]
    assert "cached" not in ended.out
    for line in ("sid …", "sft …", "sft: epoch"):
        assert ended.err.count(line) == 1, ended.err
    command = ended.out.splitlines()[0]
    assert command.startswith("accelerate launch --config_file ")
    assert f"-m recllm.train {recipe} output_dir=" in command
    assert not list(place.cache.glob("*/*.partial"))
    again = place.finish("sft")  # in one process: what several have trained is there
    assert again.out.count("cached") == 7
