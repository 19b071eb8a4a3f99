"""The three normalisations against log_softmax."""

import pytest
import torch
from torch import nn

from recllm.decoding.batching import pad_prompts, plan_batches
from recllm.decoding.scoring import (
    Head,
    log_probs_in_training,
    log_probs_over_allowed,
    log_probs_over_level,
    log_probs_over_vocab,
)
from recllm.decoding.tree import select_best

ROWS = torch.tensor([7, 0, 19, 3])


def make_head(*, bias: bool, dtype: torch.dtype = torch.float32) -> tuple[Head, torch.Tensor]:
    torch.manual_seed(0)
    weight = torch.randn(20, 6, dtype=dtype)
    head = Head(weight, torch.randn(20, dtype=dtype) if bias else None)
    return head, torch.randn(3, 2, 6, dtype=dtype)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 20, 100])
def test_over_vocab_is_the_log_softmax(bias: bool, chunk: int) -> None:
    head, hidden = make_head(bias=bias)
    expected = nn.functional.linear(hidden, head.weight, head.bias).log_softmax(-1)[..., ROWS]
    torch.testing.assert_close(log_probs_over_vocab(hidden, head, ROWS, chunk), expected)


def test_over_vocab_has_the_gradient_of_the_log_softmax() -> None:
    head, hidden = make_head(bias=True)
    inputs = [t.requires_grad_() for t in (hidden, head.weight)]
    expected = nn.functional.linear(hidden, head.weight, head.bias).log_softmax(-1)[..., ROWS]
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    # With chunks of one, some chunks hold nothing but rows that are scored already.
    found = log_probs_over_vocab(hidden, head, ROWS, chunk=1)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), inputs), wanted)


def test_over_vocab_in_bfloat16_is_computed_in_float32() -> None:
    head, hidden = make_head(bias=False, dtype=torch.bfloat16)
    exact = nn.functional.linear(hidden.float(), head.weight.float()).log_softmax(-1)[..., ROWS]
    found = log_probs_over_vocab(hidden, head, ROWS)
    assert found.dtype == torch.float32 and (found <= 0).all()
    # Differences between rows do not feel the rounding of the rest of the vocabulary.
    torch.testing.assert_close(found.diff(dim=-1), exact.diff(dim=-1))
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)
    whole = log_probs_over_vocab(hidden, head, torch.arange(20))
    torch.testing.assert_close(whole.logsumexp(-1), torch.zeros(3, 2))


def test_over_level_sums_to_one() -> None:
    head, hidden = make_head(bias=True)
    found = log_probs_over_level(hidden, head, ROWS)
    logits = nn.functional.linear(hidden, head.weight, head.bias)[..., ROWS]
    torch.testing.assert_close(found, logits.log_softmax(-1))


def test_over_allowed_leaves_the_rest_out() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    allowed = torch.tensor([[True, False, True], [False, False, False]])
    found = log_probs_over_allowed(logits, allowed)
    torch.testing.assert_close(found[0, [0, 2]], logits[0, [0, 2]].log_softmax(-1))
    assert found[0, 1] == -torch.inf and (found[1] == -torch.inf).all()


def test_select_best_takes_the_first_of_equals() -> None:
    inf = torch.inf
    scores = torch.tensor([[1.0, 3, 1, 2, 1], [-inf, 0, -inf, -inf, -inf], [5, 5, 5, 5, 5]])
    assert select_best(scores, 3).tolist() == [[0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert select_best(scores, 9).tolist() == [[0, 1, 2, 3, 4]] * 3


def test_select_best_matches_a_stable_sort() -> None:
    torch.manual_seed(0)
    scores = torch.randint(0, 5, (50, 30)).float()
    for count in (1, 4, 29):
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
        assert torch.equal(select_best(scores, count), order.sort(dim=1).values)


def test_batches_keep_to_the_budget() -> None:
    lengths = [3, 50, 8, 8, 1, 7]
    batches = plan_batches(lengths, extra=2, budget=30)
    assert batches == [[1], [2, 3, 5], [0, 4]]
    assert plan_batches(lengths, 2, 1) == [[1], [2], [3], [5], [0], [4]]
    assert plan_batches([], 2, 1) == []


def test_prompts_are_padded_on_the_right() -> None:
    tokens, lengths = pad_prompts([[4], [5, 6, 7]], torch.device("cpu"))
    assert tokens.tolist() == [[4, 0, 0], [5, 6, 7]] and lengths.tolist() == [1, 3]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("logits_bytes", [1, 4 * 20 * 2, 10**6])
def test_in_training_it_is_the_log_softmax_and_has_its_gradient(
    bias: bool, logits_bytes: int
) -> None:
    head, hidden = make_head(bias=bias)
    hidden = hidden.flatten(0, 1)
    inputs = [t.requires_grad_() for t in (hidden, head.weight, head.bias) if t is not None]
    expected = nn.functional.linear(hidden, head.weight, head.bias).log_softmax(-1)[:, ROWS]
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    found = log_probs_in_training(hidden, head, ROWS, logits_bytes)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), inputs), wanted)


def test_in_training_in_bfloat16_it_is_as_exact_as_in_decoding() -> None:
    head, hidden = make_head(bias=True, dtype=torch.bfloat16)
    hidden = hidden.flatten(0, 1)
    found = log_probs_in_training(hidden, head, ROWS)
    torch.testing.assert_close(found, log_probs_over_vocab(hidden, head, ROWS), atol=0.01, rtol=0)
    exact = head.logits(hidden, ROWS)
    torch.testing.assert_close(found.diff(dim=-1), exact.diff(dim=-1))


def test_logits_are_exact_under_autocast() -> None:
    head, hidden = make_head(bias=True)
    expected = head.logits(hidden, ROWS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.logits(hidden, ROWS), expected)
