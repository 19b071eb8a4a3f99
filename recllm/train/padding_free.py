"""Batches without padding: the rows of a batch in one, where each sees itself alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

#: The name of `padded_attention` among the implementations that transformers knows.
PADDED_ATTENTION = "recllm_padded_attention"


def supports_padding_free(model: PreTrainedModel) -> bool:
    """Whether rows of a batch without padding can be kept apart in every layer of the model."""
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    if layers is None:
        layers = ["sliding_attention"] if getattr(config, "sliding_window", None) else []
    in_full = set(layers) <= {"full_attention"} and not getattr(model, "_is_stateful", False)
    return in_full and model._can_set_attn_implementation()


def fastest_attention(device: torch.device) -> str:
    """How attention is computed for a batch without padding on this device.

    Flash attention's kernels for rows of different lengths, where they are installed; else torch's
    own attention on rows that are padded for it alone.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if is_flash_attn_3_available() and capability[0] == 9:
            return "flash_attention_3"
        if is_flash_attn_2_available() and capability >= (8, 0):
            return "flash_attention_2"
    return PADDED_ATTENTION


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Compute the model's attention in another way for a while."""
    before: Any = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def padded_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    seq_idx: Tensor | None = None,
    position_ids: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each row of a batch without padding.

    Rows are padded for the attention alone, which is a small part of the work at the lengths of
    prompts: everything else in the model sees no padding. No mask is needed, since what is padded
    comes after what it could be seen from.

    Args:
        query: (1, heads, tokens, head size); key and value likewise, maybe with fewer heads.
        cu_seq_lens_q: (rows + 1,) where each row begins, and where the last one ends.
        max_length_q: tokens of the longest row.
        seq_idx: (1, tokens) the row of each token.
        position_ids: (1, tokens) the place of each token in its row.

    Returns:
        (1, tokens, heads, head size), and None for the weights.

    Raises:
        ValueError: the batch does not say where its rows begin.
    """
    if cu_seq_lens_q is None or max_length_q is None or seq_idx is None or position_ids is None:
        raise ValueError("expected a batch from TRL's collator with padding_free=True")
    rows = len(cu_seq_lens_q) - 1
    place = seq_idx[0].long() * max_length_q + position_ids[0]

    def pad(tokens: Tensor) -> Tensor:
        flat = tokens[0].transpose(0, 1)
        padded = flat.new_zeros(rows * max_length_q, *flat.shape[1:]).index_copy(0, place, flat)
        return padded.unflatten(0, (rows, max_length_q)).transpose(1, 2)

    output, _weights = ALL_ATTENTION_FUNCTIONS["sdpa"](
        module,
        pad(query),
        pad(key),
        pad(value),
        None,
        dropout=dropout,
        scaling=scaling,
        is_causal=True,
    )
    return output.flatten(0, 1)[place].unsqueeze(0), None


AttentionInterface.register(PADDED_ATTENTION, padded_attention)
# None where no token is padding, as for flash attention: the rows are told apart by their bounds.
AttentionMaskInterface.register(PADDED_ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["flash_attention_2"])
