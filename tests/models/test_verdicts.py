"""Scores of verdicts are those of the model's own forward, one prompt at a time."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PreTrainedModel

from recllm.errors import UserError
from recllm.models.verdicts import verdict_scores

VOCABULARY = 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def build(config: object) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)  # far from even chances
    return model


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return build(LlamaConfig(**SIZES))


def plain(model: PreTrainedModel, prompt: list[int], tokens: list[int]) -> float:
    """log p of the first token among the tokens, by the definition of a softmax."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1].tolist()
    chances = [math.exp(logits[token] - max(logits[t] for t in tokens)) for token in tokens]
    return math.log(chances[0] / sum(chances))


@given(
    prompts=st.lists(
        st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12), min_size=1, max_size=7
    ),
    budget=st.integers(1, 40),
)
def test_a_score_is_the_plain_one_whatever_it_is_batched_with(
    model: PreTrainedModel, prompts: list[list[int]], budget: int
) -> None:
    found = verdict_scores(model, prompts, [7, 3], batch_tokens=budget)
    expected = [plain(model, prompt, [7, 3]) for prompt in prompts]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_more_than_two_verdicts_and_progress(model: PreTrainedModel) -> None:
    prompts, done = [[1, 2, 3], [4], [5, 6]], []
    found = verdict_scores(model, prompts, [9, 8, 7], 4, done.append)
    assert found == pytest.approx([plain(model, p, [9, 8, 7]) for p in prompts], abs=1e-4)
    assert sum(done) == 3 and len(done) > 1


def test_dropout_is_off_and_comes_back(model: PreTrainedModel) -> None:
    model.train()
    first = verdict_scores(model, [[1, 2]], [3, 4])
    assert model.training
    model.eval()
    assert np.array_equal(first, verdict_scores(model, [[1, 2]], [3, 4]))
    assert len(verdict_scores(model, [], [3, 4])) == 0


def test_a_model_that_caps_its_logits_is_refused() -> None:
    capped = build(Gemma2Config(**SIZES, final_logit_softcapping=0.5, sliding_window=64))
    with pytest.raises(UserError, match="expected the logits of gemma2 to be those of its head"):
        verdict_scores(capped, [[1, 2]], [3, 4])
