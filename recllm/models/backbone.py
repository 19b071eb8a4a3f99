"""Backbones: a pretrained causal LM, or a small one with random weights."""

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from recllm.catalog.sids import SidIndex
from recllm.config.model_section import FromScratchSection, ModelSection
from recllm.errors import UserError
from recllm.models.checkpoint_files import check_same_sids
from recllm.models.devices import resolve_device, resolve_dtype
from recllm.models.dropout import add_dropout
from recllm.models.loading import load_model
from recllm.models.model_names import reference
from recllm.models.title_rows import title_averages
from recllm.models.tokenizers import load_tokenizer, sid_token_ids
from recllm.models.tuned import prepare_for_tuning
from recllm.models.vocabulary import extend_vocabulary
from recllm.prompts.examples import CatalogText

MAX_POSITIONS = 4096


def on_device(model: PreTrainedModel) -> PreTrainedModel:
    """The model, moved to the GPU where there is one."""
    nn.Module.to(model, resolve_device())  # its own `to` is annotated for other types
    return model


def load_backbone(
    section: ModelSection,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    catalog: CatalogText | None = None,
) -> PreTrainedModel:
    """The model to be fine-tuned as a recipe says, its vocabulary extended to the tokenizer's.

    All weights are float32 where all are trained: mixed precision is the trainer's business. Those
    that an adapter leaves as they are have the precision that the recipe asks for.

    Args:
        catalog: what the items are called; without one, there are no SID tokens.

    Raises:
        UserError: the model cannot be loaded, or does not fit the SIDs or the tuning.
    """
    torch.manual_seed(seed)
    if section.from_scratch is not None:
        model = build_from_scratch(section.from_scratch, tokenizer)
        add_dropout(model, section.from_scratch.dropout)
        return model
    assert section.name is not None
    if catalog is not None:
        check_same_sids(section.name, catalog.sids)
    model = load_model(
        section.name,
        torch.float32 if section.tuning == "full" else resolve_dtype(section.dtype),
        tuning=section.tuning,
        trust_remote_code=section.trust_remote_code,
    )
    known, size = len(load_tokenizer(section, [])), len(tokenizer)
    _check_new_rows(section, size - known)
    means = None
    if section.new_rows == "text" and catalog is not None:
        means = title_averages(catalog, tokenizer, known)
    extend_vocabulary(model, known, size, seed, means)
    sids = None if catalog is None else catalog.sids
    rows = np.concatenate(sid_token_ids(tokenizer, sids)) if isinstance(sids, SidIndex) else []
    base = reference(section.name)
    return prepare_for_tuning(model, section, [int(row) for row in rows], base)


def _check_new_rows(section: ModelSection, new: int) -> None:
    """Refuse new tokens whose rows nothing would train.

    Raises:
        UserError: there are some.
    """
    if new > 0 and section.lora is not None and not section.lora.train_sid_rows:
        raise UserError(
            f"model.lora.train_sid_rows is false, but {new} SID tokens are new to {section.name}: "
            "their rows would stay random; set it to true, or start from a checkpoint with these "
            "SIDs"
        )


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
