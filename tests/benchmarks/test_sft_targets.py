"""What `targets: all` saves, as the benchmark of fine-tuning counts it."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_all_targets_take_an_eighth_of_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    counted = importlib.import_module("benchmarks._sft_targets")
    whole, single = counted.tokens_per_target(history=20)
    assert 8 * whole <= single
    assert whole > 3  # a target has three tokens, which are trained
