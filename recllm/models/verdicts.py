"""How sure a model is of a verdict: the logits of its words at the end of the prompt."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from recllm.decoding.batching import default_batch_tokens, pad_prompts, plan_batches
from recllm.decoding.scoring import Head
from recllm.errors import UserError

#: What logits may differ by where they are computed twice, relative to the greatest.
TOLERANCE = {torch.float32: 1e-3}
COARSE = 0.1


def verdict_scores(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    tokens: Sequence[int],
    batch_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """(prompts,) the log-probability of the first verdict among all of them, after each prompt.

    As TALLRec scores: the softmax over the logits of Yes and No alone (Bao et al., 2023,
    arXiv:2305.00447). Prompts of like length are run together, padded on the right, where no
    token of theirs sees the padding; so a score does not depend on what it is batched with.

    Args:
        prompts: token ids, none empty.
        tokens: the token of each verdict, the positive one first.
        batch_tokens: tokens that a batch may hold, padding included; by default what suits the
            device.

    Raises:
        UserError: the model's logits are not those of its head alone.
    """
    decoder: Any = model.get_decoder()
    head, device = Head.of(model), model.device
    words = torch.tensor(list(tokens), device=device)
    scores = np.zeros(len(prompts))
    budget = batch_tokens or default_batch_tokens(device)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            if prompts:
                _check_head(model, prompts[0], words)
            for rows in plan_batches([len(prompt) for prompt in prompts], 0, budget):
                batch, lengths = pad_prompts([prompts[row] for row in rows], device)
                mask = torch.arange(batch.shape[1], device=device) < lengths[:, None]
                output = decoder(input_ids=batch, attention_mask=mask.long(), use_cache=False)
                places = torch.arange(len(rows), device=device)
                logits = head.logits(output.last_hidden_state[places, lengths - 1], words)
                chances = logits.double().log_softmax(-1)[:, 0]
                scores[rows] = chances.cpu().numpy()
                if progress is not None:
                    progress(len(rows))
    finally:
        model.train(training)
    return scores


def _check_head(model: PreTrainedModel, prompt: Sequence[int], words: torch.Tensor) -> None:
    """Refuse models that scale or cap what their head gives, for which these are other logits."""
    ids = torch.tensor([list(prompt)], device=words.device)
    # The class's own forward: a trainer's, with mixed precision around it, would round otherwise.
    forward: Any = type(model).forward
    expected = forward(model, input_ids=ids, use_cache=False).logits[0, -1, words].float()
    decoder: Any = model.get_decoder()
    head = Head.of(model)
    found = head.logits(decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -1], words)
    tolerance = TOLERANCE.get(head.weight.dtype, COARSE)
    if (found - expected).abs().max() > tolerance * expected.abs().max().clamp(min=1.0):
        raise UserError(
            f"expected the logits of {model.config.model_type} to be those of its head, found a "
            f"difference of {float((found - expected).abs().max()):.2g}; its verdicts cannot be "
            "scored"
        )
