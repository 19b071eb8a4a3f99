"""Bases in 4 or 8 bits, through bitsandbytes."""

import importlib.util
from typing import Any

import torch
from torch import nn

from recllm.config.model_section import QUANTISED
from recllm.errors import UserError


def require_bitsandbytes(tuning: str) -> None:
    """Refuse a tuning that quantises the base where bitsandbytes is missing.

    Raises:
        UserError: it does, and it is.
    """
    if tuning in QUANTISED and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            f"model.tuning: {tuning} needs bitsandbytes, which is not installed; "
            "pip install recllm[quant], or set tuning: lora"
        )


def quantisation(tuning: str, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is to be given for a tuning's base; nothing where it stays as it is.

    `qlora`: NF4 with double quantisation (Dettmers et al., "QLoRA", 2023); `lora-8bit`: LLM.int8
    (Dettmers et al., 2022). Embeddings, head and norms stay in `dtype`, which is also what the
    others are computed in.

    Raises:
        UserError: bitsandbytes is missing.
    """
    if tuning not in QUANTISED:
        return {}
    require_bitsandbytes(tuning)
    from accelerate import PartialState
    from transformers import BitsAndBytesConfig

    # Each of several processes has its own GPU.
    device = PartialState().local_process_index if torch.cuda.is_available() else "cpu"
    if tuning == "qlora":
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    else:
        config = BitsAndBytesConfig(load_in_8bit=True)
    return {"quantization_config": config, "device_map": {"": device}}


def compute_as_trained(model: nn.Module) -> None:
    """Let 4-bit layers compute the same in evaluation as in training, and go on to train after it.

    On CPUs with AVX512-BF16 bitsandbytes (0.50) repacks them when they are first evaluated, for a
    kernel in bfloat16 that has no gradient: after a validation, nothing below them would be
    trained any more.
    """
    layers: Any = model
    for module in layers.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
