"""Prompts of different lengths, in batches of a bounded number of tokens."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from recllm.catalog.trie import Trie
from recllm.decoding.scoring import LOGITS_CHUNK

#: Larger batches make no GPU faster.
MOST_TOKENS = 262_144


def default_batch_tokens(device: torch.device) -> int:
    """How many tokens a batch holds best: few for a CPU's caches, many to fill a GPU."""
    return 4096 if device.type == "cpu" else 32768


def batch_tokens_for(model: Any) -> int:
    """How many tokens a batch of a search with `model` may hold, by the memory that is free.

    On a GPU a quarter of it is planned with, at what a token takes at its dearest: its keys and
    values, the activations of a layer, and two chunks of fp32 logits (see `log_probs_over_vocab`).
    It is an estimate: a batch that is too large all the same is halved (see `rank_in_batches`).
    """
    parameter = next(model.parameters())
    if parameter.device.type != "cuda":
        return default_batch_tokens(parameter.device)
    config = model.config.get_text_config(decoder=True)
    layer = 8 * config.hidden_size + 3 * getattr(config, "intermediate_size", 0)
    numbers = cached_numbers(config) + layer
    bytes_each = numbers * parameter.dtype.itemsize + 2 * LOGITS_CHUNK * 4
    free, _ = torch.cuda.mem_get_info(parameter.device)
    return min(max(free // 4 // bytes_each, 4096), MOST_TOKENS)


def cached_numbers(config: Any) -> int:
    """How many numbers the keys and values of a token are, by a text decoder's configuration."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * width


def beam_tokens(trie: Trie, beams: int) -> int:
    """The tokens that a search of a trie follows in a row, however it goes about it.

    At each level but the last as many as there are beams, or paths to choose from where those are
    fewer. A search that runs a prompt once for each beam computes more; one that ends before the
    longest path does, fewer.
    """
    sizes = [after - first for first, after in pairwise(trie.level_start)]
    return sum(min(beams, size) for size in sizes[1:-1])


def plan_batches(lengths: Sequence[int], extra: int, budget: int) -> list[list[int]]:
    """Group rows by length so that little is padded.

    Args:
        lengths: tokens of each prompt.
        extra: tokens that decoding adds to each row.
        budget: how many tokens, padding included, a batch may hold; one row is always allowed.

    Returns:
        The rows of each batch, the longest prompts first, so that memory runs out at once or
        never.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches:
            batch = batches[-1]
            if (len(batch) + 1) * (lengths[batch[0]] + extra) <= budget:
                batch.append(row)
                continue
        batches.append([row])
    return batches


def pad_prompts(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """The prompts padded on the right: (rows, longest) token ids and (rows,) lengths.

    Padding is token 0: every other token comes before it, and so none sees it.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    tokens = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64)
    tokens[torch.arange(tokens.shape[1]) < lengths[:, None]] = torch.cat(
        [torch.as_tensor(prompt, dtype=torch.int64) for prompt in prompts]
    )
    return tokens.to(device), lengths.to(device)
