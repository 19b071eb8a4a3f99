"""The loss over SID levels, against a plain computation."""

from functools import partial

import pytest
import torch

from recllm.config.schema import ModelSection
from recllm.models.backbone import load_backbone
from recllm.models.tokenizers import train_tokenizer
from recllm.train.trainer import LevelLoss

LEVELS = [torch.tensor([300, 301]), torch.tensor([302, 303, 304, 305])]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("tied", [True, False])
def test_level_loss_is_cross_entropy_among_the_codes_of_a_level(tied: bool, autocast: bool) -> None:
    tokenizer = train_tokenizer(["some text to learn from"] * 9, 300)
    tokenizer.add_tokens([f"<{i}>" for i in range(310 - len(tokenizer))])
    sizes = {"hidden": 32, "layers": 1, "heads": 2, "tie_embeddings": tied}
    model = load_backbone(ModelSection(from_scratch=sizes), tokenizer, seed=0)  # type: ignore[arg-type]
    input_ids = torch.tensor([[5, 6, 301, 304, 7], [8, 300, 305, 302, 0]])
    labels = torch.tensor([[-100, -100, 301, 304, 7], [-100, 300, 305, -100, -100]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    batch = {"input_ids": input_ids, "labels": labels, "attention_mask": mask}
    half = partial(torch.autocast, "cpu", torch.bfloat16, enabled=autocast)
    total, count = LevelLoss(LEVELS)(model, batch, half)
    with half():
        hidden = model.get_decoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
    logits = model.lm_head(hidden.float())
    expected = torch.tensor(0.0)
    for row in range(2):
        for position in range(1, 5):
            label = int(labels[row, position])
            if label == -100:
                continue
            level = [tokens for tokens in map(torch.Tensor.tolist, LEVELS) if label in tokens]
            scores = logits[row, position - 1]
            among = scores[level[0]] if level else scores
            expected -= scores[label] - torch.logsumexp(among, 0)
    assert count == 5
    assert torch.allclose(total, expected, atol=1e-5)
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
