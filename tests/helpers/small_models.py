"""Small models of the shapes that are fine-tuned."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


def make_model(
    architecture: str = "qwen2", *, tied: bool = True, bias: bool = False, vocabulary: int = 40
) -> PreTrainedModel:
    """Random weights, three heads of attention that share one key."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture, vocab_size=vocabulary, hidden_size=24, intermediate_size=32,
        num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=8,
        tie_word_embeddings=tied, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if bias:
        head = nn.Linear(24, vocabulary)
        head.weight = model.lm_head.weight
        model.set_output_embeddings(head)
    return model
