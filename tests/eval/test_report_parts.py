"""What the report shows of single predictions."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import write_leave_one_out

from recllm.eval.baselines_stage import SCHEMA
from recllm.eval.report_parts import popularity_profiles


def test_popularity_of_what_is_recommended_and_of_what_was_consumed(tmp_path: Path) -> None:
    # Item 0 is the most popular one in training, then 1; the others follow by their number.
    sequences = [[0, 0, 1, 5, 9], [0, 1, 0, 2, 0]]
    inputs = write_leave_one_out(tmp_path, sequences, items=10)
    inputs |= {name: tmp_path / name for name in ("eval", "baselines")}
    for name in ("eval", "baselines"):
        inputs[name].mkdir()
    predictions = {
        "row": pa.array([4, 9], pa.int64()),
        "user_id": ["u0", "u1"],
        "target": pa.array([9, 0], pa.int32()),
        "rank": pa.array([-1, 0], pa.int32()),
        "item_ids": [["i1", "i2", "i0"], ["i0"]],
        "scores": [[-1.0, -2.0, -3.0], [-1.0]],
        "invalid": pa.array([0, 0], pa.int64()),
    }
    pq.write_table(pa.table(predictions), inputs["eval"] / "predictions.parquet")
    ranked = {
        "row": [4, 9],
        "baseline": ["covisitation"] * 2,
        "rank": [-1, -1],
        "items": [[3, 0], [9, 4]],
    }
    pq.write_table(pa.table(ranked, schema=SCHEMA), inputs["baselines"] / "test.parquet")

    found = popularity_profiles(inputs, depth=2)
    assert list(found) == ["model", "covisitation", "targets"]
    assert found["model"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, *[0] * 7])  # the third is too deep
    assert found["covisitation"] == [0.25, 0, 0, 0.25, 0.25, 0, 0, 0, 0, 0.25]
    assert found["targets"] == [0.5, *[0] * 8, 0.5]
