"""The worked examples of the pages come out as the pages say."""

import math

import numpy as np
import pytest
import torch
from pages import ROOT

from recllm.metrics import compute
from recllm.train.rollouts._groups import centred


def told(page: str, words: str) -> bool:
    text = " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())
    return words in text


def test_metrics_of_four_rows() -> None:
    assert told("evaluation.md", "ranks 0, 2, 11 and outside the 50 beams have hit@10")
    ranks = np.array([0, 2, 11, -1])
    assert told("evaluation.md", "/ 4 = 0.5,") and compute("hit@10", ranks).mean() == 0.5
    assert told("evaluation.md", "/ 4 = 0.375") and compute("ndcg@10", ranks).mean() == 0.375
    mrr = compute("mrr@50", ranks).mean()
    assert told("evaluation.md", "/ 4 = 0.354") and mrr == pytest.approx(0.354, abs=5e-4)


def test_advantages_of_a_group() -> None:
    assert told("concepts.md", "advantage -0.5 +1.5 -0.5 -0.5")
    rewards = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    found = centred(rewards, torch.tensor([[0, 2, 4, 1]]), scale=True)
    assert found[0].tolist() == pytest.approx([-0.5, 1.5, -0.5, -0.5], abs=1e-3)


def test_the_loss_of_a_row() -> None:
    assert told("concepts.md", "0.5, 0.25 and 0.8") and told("concepts.md", "/ 3 = 0.77")
    assert -math.log(0.5 * 0.25 * 0.8) / 3 == pytest.approx(0.77, abs=5e-3)


def test_a_beam_of_two_loses_an_item() -> None:
    after = {
        (): {"a_3": 0.6, "a_7": 0.4},
        ("a_3",): {"b_1": 1.0},
        ("a_7",): {"b_4": 0.3, "b_15": 0.7},
        ("a_3", "b_1"): {"c_0": 0.5, "c_9": 0.5},
        ("a_7", "b_15"): {"c_2": 0.9, "c_8": 0.1},
    }
    beams: dict[tuple[str, ...], float] = {(): 1.0}
    for level in range(3):
        paths = {(*p, code): q * q2 for p, q in beams.items() for code, q2 in after[p].items()}
        for value in paths.values() if level else ():
            assert told("concepts.md", f"= {value:.2f}")
        beams = dict(sorted(paths.items(), key=lambda path: -path[1])[:2])
    assert list(beams) == [("a_3", "b_1", "c_0"), ("a_3", "b_1", "c_9")]
    assert told("concepts.md", "ranking: item0 0.30, item1 0.30")
