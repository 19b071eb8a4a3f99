"""Whether what the layers keep for the backward pass fits into memory.

Where it does not, gradients are checkpointed: layers are computed a second time instead, which
makes a step about a third slower (Chen et al., "Training Deep Nets with Sublinear Memory Cost",
2016).
"""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from recllm.train.supervised_loss import LOGITS_BYTES

log = logging.getLogger(__name__)

#: Of the memory that is free, what activations may take by an estimate.
SHARE = 0.6
#: Bytes that are kept for each number that goes into or comes out of a matrix, in fp32 and in 16
#: bits: norms, rotations and gates keep numbers of their own, and norms in fp32 in either.
KEPT_FULL, KEPT_HALF = 5.6, 4.0
#: Gradient, mean and variance of AdamW, in fp32.
TRAINING_BYTES = 12


def activation_bytes(model: PreTrainedModel, *, half: bool) -> float:
    """What the layers keep of a token from its forward to its backward pass, estimated.

    Args:
        half: whether activations have 16 bits.
    """
    decoder: Any = model.get_decoder()
    matrices = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)]
    numbers = sum(m.in_features + m.out_features for m in matrices)
    return (KEPT_HALF if half else KEPT_FULL) * numbers


def activations_fit(
    model: PreTrainedModel, lengths: Sequence[int] | NDArray[np.integer], batch: int, *, half: bool
) -> bool:
    """Whether the largest batch can be trained without checkpoints; one answer for all processes.

    Args:
        model: on the device that it is trained on.
        lengths: tokens of each training row.
        batch: rows of a batch.
        half: whether activations have 16 bits.
    """
    tokens = int(np.sort(lengths)[-batch:].sum())
    needed = tokens * activation_bytes(model, half=half) + 3 * LOGITS_BYTES
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    free = _free_memory(model.device) - TRAINING_BYTES * trained
    fits = all(gather_object([needed <= SHARE * free]))
    if not fits:
        log.info(
            "sft: %s tokens a batch need about %.1f GB of activations, %.1f are free: gradients "
            "are checkpointed",
            f"{tokens:,}",
            needed / 1e9,
            max(free, 0) / 1e9,
        )
    return fits


def _free_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return psutil.virtual_memory().available / processes
