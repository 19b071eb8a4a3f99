"""Backbones: a pretrained causal LM, or a small one with random weights."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from recllm.config.model_section import FromScratchSection, ModelSection
from recllm.errors import UserError
from recllm.models.dropout import add_dropout
from recllm.models.tokenizers import cannot_load, load_tokenizer
from recllm.models.vocabulary import extend_vocabulary

MAX_POSITIONS = 4096


def resolve_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(model: PreTrainedModel) -> PreTrainedModel:
    """The model, moved to the GPU where there is one."""
    nn.Module.to(model, resolve_device())  # its own `to` is annotated for other types
    return model


def resolve_dtype(name: str) -> torch.dtype:
    """The dtype a recipe asks for; `auto` is bfloat16 on a GPU that has it, else float32."""
    if name == "auto":
        has_bfloat16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_backbone(
    section: ModelSection, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """The model to be fine-tuned, its vocabulary extended to the tokenizer's.

    Weights are float32: mixed precision is the trainer's business.

    Raises:
        UserError: the model cannot be loaded.
    """
    torch.manual_seed(seed)
    if section.from_scratch is not None:
        model = build_from_scratch(section.from_scratch, tokenizer)
        add_dropout(model, section.from_scratch.dropout)
        return model
    assert section.name is not None
    try:
        model = AutoModelForCausalLM.from_pretrained(
            section.name,
            dtype=torch.float32,
            trust_remote_code=section.trust_remote_code,
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(cannot_load("model", section.name, error)) from None
    known = len(load_tokenizer(section, []))
    extend_vocabulary(model, known, len(tokenizer), seed)
    return model


def build_from_scratch(
    section: FromScratchSection, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """A model of the given architecture and sizes with random weights."""
    config = AutoConfig.for_model(
        section.architecture,
        vocab_size=len(tokenizer),
        hidden_size=section.hidden,
        intermediate_size=section.intermediate or 4 * section.hidden,
        num_hidden_layers=section.layers,
        num_attention_heads=section.heads,
        num_key_value_heads=section.heads,
        head_dim=section.hidden // section.heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=section.tie_embeddings,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
