"""Residual dropout for small models trained from scratch.

The Qwen and Llama architectures have none, being trained on text without repetition; a small
model that sees a log for many epochs needs it.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


def add_dropout(model: PreTrainedModel, rate: float) -> None:
    """Drop units of the embeddings and of each block's outputs during training.

    Attention weights are left alone: with dropout on them, torch leaves its fast CPU kernel.

    The model's parameters, names and files stay the same; evaluation is not affected.
    """
    if rate == 0:
        return

    def drop(module: nn.Module, _: object, output: torch.Tensor | tuple) -> torch.Tensor | tuple:
        if isinstance(output, tuple):
            first = nn.functional.dropout(output[0], rate, module.training)
            return (first, *output[1:])
        return nn.functional.dropout(output, rate, module.training)

    decoder: Any = model.get_decoder()
    decoder.get_input_embeddings().register_forward_hook(drop)
    for layer in decoder.layers:
        layer.self_attn.register_forward_hook(drop)
        layer.mlp.register_forward_hook(drop)
