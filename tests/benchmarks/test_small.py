"""Every benchmark runs, and its last line is what a reader of figures expects."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from recllm.decoding.engine import Ranking

ROOT = Path(__file__).resolve().parents[2]
MODULES = [module.name for module in pkgutil.iter_modules([str(ROOT / "benchmarks")])]
NAMES = [name for name in MODULES if not name.startswith("_")]


def run(*arguments: str) -> str:
    """What `python -m` with these arguments prints."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env=os.environ | {"TRANSFORMERS_VERBOSITY": "error"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_benchmarks_are_listed() -> None:
    assert {"decoding", "trie"} <= set(NAMES)
    assert run("benchmarks").split() == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_small_benchmark_ends_with_its_figures(name: str) -> None:
    result = json.loads(run(f"benchmarks.{name}", "--small").splitlines()[-1])
    assert set(result) == {"benchmark", "machine", "rows"}
    assert result["benchmark"] == name
    assert result["machine"]
    cases = [row["case"] for row in result["rows"]]
    assert cases.count("bar") == 1
    assert len(set(cases)) == len(cases)
    for row in result["rows"]:
        assert set(row) == {"case", "recllm", "peer", "unit", "ratio"}
        more_is_better = row["unit"].endswith("/s") or row["unit"].startswith(
            ("hit@", "ndcg@", "auc")
        )
        better, worse = ("recllm", "peer") if more_is_better else ("peer", "recllm")
        assert row["ratio"] == pytest.approx(row[better] / row[worse])
        assert row["recllm"] > 0 and row["peer"] > 0


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The peer of the benchmark of decoding, which is not installed."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks._generate")


def ranking(items: list[int], scores: list[float]) -> Ranking:
    return Ranking(np.array([items], dtype=np.int32), np.array([scores], dtype=np.float32))


def test_items_of_equal_score_may_swap(decoding: ModuleType) -> None:
    expected = ranking([4, 7, 2], [-1.0, -2.0, -2.00001])
    assert decoding.count_swaps(expected, expected) == 0
    assert decoding.count_swaps(ranking([4, 2, 7], [-1.0, -2.0, -2.00001]), expected) == 2
    assert decoding.count_swaps(ranking([4, 7, 9], [-1.0, -2.0, -2.00001]), expected) == 1


@pytest.mark.parametrize(
    ("items", "scores"),
    [
        ([7, 4, 2], [-1.0, -2.0, -3.0]),
        ([7, 4, 2], [-2.0, -1.0, -3.0]),
        ([9, 7, 2], [-1.0, -2.0, -3.0]),
        ([4, 7, 2], [-1.0, -2.0, -3.1]),
    ],
    ids=["other order", "not sorted", "other item", "other score"],
)
def test_other_rankings_are_found_out(
    decoding: ModuleType, items: list[int], scores: list[float]
) -> None:
    with pytest.raises(SystemExit, match="differently"):
        decoding.count_swaps(ranking(items, scores), ranking([4, 7, 2], [-1.0, -2.0, -3.0]))
