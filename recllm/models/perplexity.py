"""How well a model predicts a text: the negative log-likelihood of each token, in windows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

#: Tokens of a window at most: what perplexities are usually given at, however long the model's
#: context is, and what the logits of a large vocabulary leave memory for.
WINDOW = 2048
#: Positions whose logits are float32 at once.
CHUNK = 256


class Window(NamedTuple):
    """The positions from `start` to `end` are run, those from `scored` on are scored."""

    start: int
    scored: int
    end: int


def plan_windows(length: int, window: int, stride: int) -> Iterator[Window]:
    """Windows that score each position but the first of a sequence exactly once.

    The first window is full; each later one scores the next `stride` positions and fills up with
    what stands before them.

    Args:
        window: at least 2.
        stride: from 1 to window - 1.
    """
    scored, end = 1, min(window, length)
    while scored < length:
        yield Window(max(0, end - window), scored, end)
        scored, end = end, min(end + stride, length)


def window_of(model: PreTrainedModel) -> int:
    """The tokens of a window: the model's context, or `WINDOW` where that is longer."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(context or WINDOW, WINDOW)


@torch.inference_mode()
def token_losses(
    model: PreTrainedModel,
    tokens: Sequence[int],
    *,
    start: int,
    left_out: Sequence[int],
    window: int,
    stride: int,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """(2, tokens) -log p of each token in nats, under a softmax in float32.

    The first row is normalised over the whole vocabulary, the second over all of it but the tokens
    `left_out`. The logits are those of the model's own forward, whatever it does to them.

    Args:
        tokens: ids, none of them in `left_out`.
        start: the token before the first one; it is not scored.
        left_out: ids; those beyond the model's rows have no probability anyway.
        window, stride: see `plan_windows`.
    """
    device = model.device
    sequence = torch.tensor([start, *tokens], device=device)
    losses = torch.empty(2, len(sequence), dtype=torch.float64)
    forward: Any = model.eval()
    removed: torch.Tensor | None = None
    for first, scored, end in plan_windows(len(sequence), window, stride):
        ids = sequence[None, first:end]
        # The logits at a position are those of the next token.
        kept = end - scored + 1
        logits = forward(input_ids=ids, use_cache=False, logits_to_keep=kept).logits[0, :-1]
        if removed is None:
            rows = [token for token in left_out if token < logits.shape[-1]]
            removed = torch.tensor(rows, dtype=torch.long, device=device)
        for place in range(scored, end, CHUNK):
            stop = min(place + CHUNK, end)
            part = logits[place - scored : stop - scored].float()
            losses[:, place:stop] = _part_losses(part, sequence[place:stop], removed).cpu()
        if progress is not None:
            progress(end - scored)
    return losses[:, 1:].numpy()


def _part_losses(
    logits: torch.Tensor, targets: torch.Tensor, left_out: torch.Tensor
) -> torch.Tensor:
    """(2, positions) of logits (positions, vocabulary), which are spent."""
    wanted = logits.gather(-1, targets[:, None])[:, 0]
    whole = logits.logsumexp(-1)
    fewer = logits.index_fill_(-1, left_out, -torch.inf).logsumexp(-1)
    return (torch.stack([whole, fewer]) - wanted).double()
