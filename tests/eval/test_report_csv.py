"""report.csv: every metric of the model and of the baselines."""

import csv
import io
from pathlib import Path
from typing import Any

from recllm.eval.report import ReportInputs, write_report
from recllm.eval.report.figures_csv import COLUMNS, to_csv


def entry(value: float) -> dict[str, Any]:
    return {"value": value, "ci95": [value / 2, 2 * value], "n": 7}


METRICS = {
    "metrics": {"hit@1": entry(0.1), "ndcg@10": entry(0.2)},
    "sid_metrics": {"hit@1": entry(0.3)},
    "baselines": {"popularity": {"hit@1": entry(1 / 3), "ndcg@10": {"value": float("nan")}}},
    "slices": {
        "history_length": [
            {"label": '1, "2"', "n": 3, "model": {"hit@1": {"value": 0.5, "n": 3}},
             "baselines": {"popularity": {"hit@1": entry(0.25)}}},
            {"label": "6+", "n": 0},
        ],
    },
    "search": {
        "rows": 7, "metrics": {"hit@1": entry(0.6)}, "baselines": {"titles": {"hit@1": entry(0.7)}}
    },
}  # fmt: skip


def test_every_metric_has_a_row_in_full_precision(tmp_path: Path) -> None:
    write_report(ReportInputs("x", metrics=METRICS), tmp_path)
    head, *rows = csv.reader(io.StringIO((tmp_path / "report.csv").read_text()))
    assert tuple(head) == COLUMNS
    assert rows == [
        ["model", "hit@1", "all", "", "0.1", "0.05", "0.2", "7"],
        ["model", "ndcg@10", "all", "", "0.2", "0.1", "0.4", "7"],
        ["popularity", "hit@1", "all", "", repr(1 / 3), repr(1 / 6), repr(2 / 3), "7"],
        ["model_by_sid", "hit@1", "all", "", "0.3", "0.15", "0.6", "7"],
        ["model", "hit@1", "search", "", "0.6", "0.3", "1.2", "7"],
        ["titles", "hit@1", "search", "", "0.7", "0.35", "1.4", "7"],
        ["model", "hit@1", "history_length", '1, "2"', "0.5", "", "", "3"],
        ["popularity", "hit@1", "history_length", '1, "2"', "0.25", "0.125", "0.5", "7"],
    ]


def test_without_metrics_there_is_a_head_alone() -> None:
    assert to_csv({}) == ",".join(COLUMNS) + "\n"
