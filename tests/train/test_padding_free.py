"""Batches without padding: the same loss and gradients as with it, and no row sees another."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import make_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from recllm.prompts.training import IGNORED
from recllm.train.padding_free import (
    PADDED_ATTENTION,
    attention,
    fastest_attention,
    supports_padding_free,
)
from recllm.train.supervised_loss import VocabLoss, add_loss

token = st.tuples(st.integers(1, 39), st.booleans())
batches = st.lists(st.lists(token, min_size=1, max_size=12), min_size=1, max_size=6)


def collate(batch: Sequence[list[tuple[int, bool]]], padding_free: bool) -> dict[str, Any]:
    rows = [
        {
            "input_ids": [token for token, _ in row],
            "labels": [token if is_label else IGNORED for token, is_label in row],
        }
        for row in batch
    ]
    return DataCollatorForLanguageModeling(0, padding_free=padding_free)(rows)


def loss_and_gradients(
    model: PreTrainedModel, batch: dict[str, Any]
) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad(set_to_none=True)
    outcome: Any = model(**batch, supervised_only=True)
    outcome["loss"].backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return outcome["loss"].detach(), [g.clone() for g in gradients]


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
@settings(deadline=None, max_examples=20)
@given(batch=batches)
def test_loss_and_gradients_are_those_of_padded_batches(
    batch: list[list[tuple[int, bool]]], architecture: str
) -> None:
    model = make_model(architecture)
    add_loss(model, VocabLoss())
    loss, gradients = loss_and_gradients(model, collate(batch, padding_free=False))
    with attention(model, PADDED_ATTENTION):
        found, found_gradients = loss_and_gradients(model, collate(batch, padding_free=True))
    assert abs(loss - found) <= 1e-5 * max(1, loss)
    for one, other in zip(gradients, found_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
def test_what_one_row_says_does_not_reach_another(architecture: str) -> None:
    model, lengths = make_model(architecture), (5, 1, 8, 3)
    rows = [[(int(t), True) for t in torch.randint(1, 40, (n,))] for n in lengths]
    others = [*rows[:2], [(40 - t, True) for t, _ in rows[2]], rows[3]]
    decoder: Any = model.get_decoder()
    with attention(model, PADDED_ATTENTION), torch.no_grad():
        one, other = (
            decoder(**{k: v for k, v in collate(batch, True).items() if k != "labels"})
            .last_hidden_state[0]
            .split(lengths)
            for batch in (rows, others)
        )
    for place, (before, after) in enumerate(zip(one, other, strict=True)):
        assert torch.equal(before, after) == (place != 2)


def test_attention_is_only_lent() -> None:
    model = make_model()
    with pytest.raises(RuntimeError), attention(model, PADDED_ATTENTION):
        assert model.config._attn_implementation == PADDED_ATTENTION
        raise RuntimeError
    assert model.config._attn_implementation == "sdpa"
    assert fastest_attention(torch.device("cpu")) == PADDED_ATTENTION


def test_a_batch_that_does_not_say_where_rows_begin_is_refused() -> None:
    model, ids = make_model(), torch.tensor([[1, 2, 3, 4]])
    with attention(model, PADDED_ATTENTION), pytest.raises(ValueError, match="padding_free=True"):
        model(input_ids=ids, position_ids=torch.tensor([[0, 1, 0, 1]]))


@pytest.mark.parametrize(
    ("architecture", "options", "supported"),
    [
        ("qwen2", {}, True),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, False),
        ("mistral", {"sliding_window": 8}, False),
        ("mistral", {"sliding_window": None}, True),
        ("mamba", {}, False),
    ],
)
def test_models_whose_layers_could_mix_rows_are_found(
    architecture: str, options: dict[str, Any], supported: bool
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 20}
    if architecture != "mamba":
        sizes |= {"intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes, **options))
    assert supports_padding_free(model) == supported
