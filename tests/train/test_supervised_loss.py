"""The loss of supervised positions, against the cross-entropy of all logits."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from small_models import make_model
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from recllm.prompts.training import IGNORED
from recllm.train.supervised_loss import LevelLoss, VocabLoss, add_loss, changed_logits

LEVELS = [torch.tensor([30, 31]), torch.tensor([32, 33, 34, 35])]
VOCABULARY = 40

row = st.lists(st.tuples(st.integers(1, VOCABULARY - 1), st.booleans()), min_size=1, max_size=9)
rows = st.lists(row, min_size=1, max_size=5)


def padded(batch: list[list[tuple[int, bool]]]) -> dict[str, Tensor]:
    """Rows of tokens, each with whether it is a label, as a batch padded on the right."""
    length = max(map(len, batch))
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
    for place, tokens in enumerate(batch):
        for position, (token, is_label) in enumerate(tokens):
            ids[place, position], mask[place, position] = token, 1
            labels[place, position] = token if is_label else IGNORED
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def over_vocabulary(logits: Tensor, label: int) -> Tensor:
    return F.cross_entropy(logits, torch.tensor(label))


def over_level(logits: Tensor, label: int) -> Tensor:
    for level in LEVELS:
        if label in level.tolist():
            return logits[level].logsumexp(0) - logits[label]
    return over_vocabulary(logits, label)


def reference(model: Any, batch: dict[str, Tensor], one: Any) -> tuple[Tensor, int]:
    """The sum over labels, one by one, from the logits of every position."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = model(**inputs, use_cache=False).logits.float()
    total, count = logits.sum() * 0, 0
    for place, labels in enumerate(batch["labels"].tolist()):
        for position, label in enumerate(labels[1:]):
            if label != IGNORED:
                total, count = total + one(logits[place, position], label), count + 1
    return total, count


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def assert_equal_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("level", [False, True], ids=["vocab", "level"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@settings(deadline=None, max_examples=15)
@given(batch=rows, targets_at_once=st.integers(1, 12))
def test_loss_and_gradients_are_those_of_all_logits(
    batch: list[list[tuple[int, bool]]], targets_at_once: int, tied: bool, bias: bool, level: bool
) -> None:
    model = make_model(tied=tied, bias=bias)
    inputs = padded(batch)
    expected, count = reference(model, inputs, over_level if level else over_vocabulary)
    expected_gradients = gradients(model, expected)
    logits_bytes = 4 * VOCABULARY * targets_at_once
    add_loss(model, LevelLoss(LEVELS) if level else VocabLoss(logits_bytes))
    found: Any = model(**inputs, supervised_only=True)
    assert int(found["count"]) == count
    torch.testing.assert_close(found["loss"], expected, atol=1e-4, rtol=1e-5)
    assert_equal_gradients(gradients(model, found["loss"]), expected_gradients)


def test_without_being_asked_the_forward_is_what_it_was() -> None:
    model: Any = make_model()
    inputs = padded([[(3, True), (4, True)]])
    before: Any = model(**inputs)
    add_loss(model, VocabLoss())
    after: Any = model(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.loss, after.loss)
    generated: Any = model.generate(inputs["input_ids"], max_new_tokens=2, do_sample=False)
    assert generated.shape == (1, 4)


def batch_of_rows() -> dict[str, Tensor]:
    return padded(
        [[(5, False), (31, True), (34, True), (2, True)], [(6, False), (30, True), (7, True)]]
    )


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("level", [False, True], ids=["vocab", "level"])
def test_an_adapter_trains_as_it_does_on_all_logits(tied: bool, level: bool) -> None:
    base = make_model(tied=tied)
    tables = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    config = LoraConfig(
        target_modules=["q_proj", "v_proj"],
        trainable_token_indices={name: [30, 31, 32, 33] for name in tables},
        init_lora_weights=False,
    )
    model: Any = get_peft_model(base, config)
    inputs = batch_of_rows()
    expected, _ = reference(model, inputs, over_level if level else over_vocabulary)
    expected_gradients = gradients(model, expected)
    assert any("trainable_tokens" in name for name in expected_gradients)
    add_loss(model.get_base_model(), LevelLoss(LEVELS) if level else VocabLoss(4 * VOCABULARY))
    found = model(**inputs, supervised_only=True)
    torch.testing.assert_close(found["loss"], expected, atol=1e-5, rtol=1e-5)
    assert_equal_gradients(gradients(model, found["loss"]), expected_gradients)


def checkpointed(model: PreTrainedModel) -> PreTrainedModel:
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def test_gradient_checkpointing_changes_nothing() -> None:
    inputs = batch_of_rows()
    found = []
    for prepare in (PreTrainedModel.train, checkpointed):
        model = prepare(make_model())
        add_loss(model, VocabLoss(4 * VOCABULARY * 2))
        outcome: Any = model(**inputs, supervised_only=True)
        found.append(gradients(model, outcome["loss"]))
    assert_equal_gradients(*found)


@pytest.mark.parametrize("level", [False, True], ids=["vocab", "level"])
def test_mixed_precision_stays_near_and_sums_in_fp32(level: bool) -> None:
    inputs = batch_of_rows()
    found = []
    for context in (nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        model = make_model()
        add_loss(model, LevelLoss(LEVELS) if level else VocabLoss())
        with context:
            outcome: Any = model(**inputs, supervised_only=True)
        assert outcome["loss"].dtype == torch.float32
        assert all(g.isfinite().all() for g in gradients(model, outcome["loss"]).values())
        found.append(outcome["loss"].item())
    assert found[1] == pytest.approx(found[0], rel=0.05)


@pytest.mark.parametrize("loss", [VocabLoss(), LevelLoss(LEVELS)])
def test_a_batch_without_labels_has_a_loss_of_zero(loss: Any) -> None:
    """Processes that wait for each other's gradients need one from everybody."""
    model = make_model()
    add_loss(model, loss)
    outcome: Any = model(**padded([[(3, True), (4, False)]]), supervised_only=True)
    assert int(outcome["count"]) == 0
    assert outcome["loss"].item() == 0
    outcome["loss"].backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_logits_that_are_changed_after_the_head_are_found() -> None:
    model = make_model()
    assert changed_logits(model) is None
    model.config.logit_scale = 1.0
    assert changed_logits(model) is None
    model.config.logit_scale = 0.5
    assert changed_logits(model) == "logit_scale"
