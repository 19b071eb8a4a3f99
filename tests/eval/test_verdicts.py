"""The AUC of a model beside its baselines, on a case computed by hand; TALLRec's own prompts."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import make_sequences
from command_line import recllm

from recllm.config.loading import load_recipe
from recllm.eval.verdicts import compare_auc, fit_baselines

LABELS = np.array([True, True, False, False, False])
USERS = np.array(["u", "v", "u", "v", "w"])


def test_areas_and_differences() -> None:
    scores = {
        "model": np.array([0.9, 0.4, 0.5, 0.1, 0.2]),  # one of six pairs is wrong
        "chance": np.zeros(5),
        "popularity": np.array([1.0, 2.0, 2.0, 3.0, 0.0]),  # 1 + 1 right, one tie
    }
    found = compare_auc(scores, LABELS, USERS, load_recipe("tiny/tallrec"))
    assert found["metrics"]["auc"]["value"] == pytest.approx(5 / 6)
    baselines = {name: entry["auc"]["value"] for name, entry in found["baselines"].items()}
    assert baselines == pytest.approx({"chance": 0.5, "popularity": 2.5 / 6})
    assert found["paired"]["popularity"]["auc"]["value"] == pytest.approx(2.5 / 6)
    low, high = found["paired"]["chance"]["auc"]["ci95"]
    of_model = found["metrics"]["auc"]["ci95"]
    assert (low, high) == pytest.approx((of_model[0] - 0.5, of_model[1] - 0.5))
    assert all(entry["auc"]["n"] == 5 for entry in found["baselines"].values())


def test_baselines_know_training_alone(tmp_path: Path) -> None:
    sequences = make_sequences([[0, 1, 2], [1, 3, 0]], [2, 2])
    ratings = [5.0, 2.0, 1.0, 4.0, np.nan, 1.0]
    table = pa.table({"row": sequences.rows, "rating": ratings})
    pq.write_table(table, tmp_path / "interactions.parquet")
    found = fit_baselines(sequences, tmp_path, 5)
    assert found["popularity"].tolist() == [1, 2, 0, 1, 0]
    assert found["rating"] == pytest.approx([5, 3, 11 / 3, 11 / 3, 11 / 3])
    assert not found["chance"].any()
    pq.write_table(table.drop_columns("rating"), tmp_path / "interactions.parquet")
    assert set(fit_baselines(sequences, tmp_path, 5)) == {"chance", "popularity"}


@pytest.mark.slow
def test_tallrec_s_own_test_prompts_evaluate(real_data: Path, tmp_path: Path) -> None:
    """Its training file is not at hand: a part of the valid prompts is trained on in its place."""
    given = tmp_path / "given"
    given.mkdir()
    prompts = {
        split: json.loads(gzip.decompress((real_data / "tallrec-movie" / name).read_bytes()))
        for split, name in (("valid", "movie.valid.json.gz"), ("test", "movie.test.json.gz"))
    }
    parts = {"train": prompts["valid"][200:], "valid": prompts["valid"][:200]}
    for split, rows in (parts | {"test": prompts["test"]}).items():
        (given / f"{split}.json").write_text(json.dumps(rows))
    outcome = recllm(
        "run", "tiny/tallrec", f"output_dir={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}",
        "data.source=tallrec", f"data.path={given}", "data.k_core=0", "data.split=given",
        "sft.tasks.tallrec.liked_above=0.5", "sft.tasks.tallrec.cap=256", "prompts.max_history=10",
        "sft.trainer.num_train_epochs=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    yes = sum(prompt["output"].lower().startswith("yes") for prompt in prompts["test"])
    assert found["answers"]["Yes"] + found["answers"]["No"] == found["rows"]
    left_out = sum(found["left_out"].values())
    assert found["rows"] + left_out == len(prompts["test"]) and left_out < 20
    assert abs(found["answers"]["Yes"] - yes) <= left_out
    low, high = found["metrics"]["auc"]["ci95"]
    assert 0.4 < low < found["metrics"]["auc"]["value"] < high < 0.7
