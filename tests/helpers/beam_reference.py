"""Tiny models, and a beam search so plain that it can serve as the specification."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 240
Path = tuple[int, ...]


def make_model(kind: str, *, tied: bool = False, seed: int = 0, **options: Any) -> Any:
    """A random model of two layers whose next tokens differ clearly in probability."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **options,
    }
    if kind == "gpt2":
        shape |= {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
            del shape[name]
        return GPT2LMHeadModel(GPT2Config(**shape)).eval()
    kinds = {
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
        "mistral": (MistralConfig, MistralForCausalLM),
    }
    config, model = kinds[kind]
    return model(config(**shape)).eval()


@torch.no_grad()
def plain_beam_search(
    model: Any,
    prompt: Sequence[int],
    paths: Sequence[Path],
    *,
    beams: int,
    scoring: str = "vocab",
    alphabets: Sequence[Sequence[int]] = (),
    allowed_items: set[int] | None = None,
) -> tuple[list[int], list[float]]:
    """Beam search without cache, padding or trie: the specification of the engine.

    `paths` are the token ids of each item. A path that ends no longer takes one of the beams.
    """
    items = set(range(len(paths))) if allowed_items is None else allowed_items
    following: dict[Path, set[int]] = {}
    items_of: dict[Path, list[int]] = {}
    for item in sorted(items):
        items_of.setdefault(paths[item], []).append(item)
        for depth, token in enumerate(paths[item]):
            following.setdefault(paths[item][:depth], set()).add(token)

    def by_score_then_path(entry: tuple[float, Path]) -> tuple[float, list[int]]:
        score, path = entry
        places = [list(alphabets[d]).index(t) if alphabets else t for d, t in enumerate(path)]
        return -score, places

    running: list[tuple[float, Path]] = [(0.0, ())]
    finished: list[tuple[float, Path]] = []
    while running and items:
        batch = torch.tensor([[*prompt, *path] for _, path in running])
        logits = model(input_ids=batch, use_cache=False).logits[:, -1].float()
        candidates = []
        for (score, path), row in zip(running, logits, strict=True):
            children = sorted(following[path])
            over = {
                "vocab": range(len(row)),
                "level": alphabets[len(path)] if alphabets else (),
                "trie": children,
            }[scoring]
            log_probs = row[children] - row[list(over)].logsumexp(-1)
            extended = zip(children, log_probs.tolist(), strict=True)
            candidates += [(score + lp, (*path, token)) for token, lp in extended]
        candidates.sort(key=by_score_then_path)
        finished += [c for c in candidates[:beams] if c[1] in items_of]
        finished = sorted(finished, key=by_score_then_path)[:beams]
        running = [c for c in candidates if c[1] not in items_of][:beams]
    ranked = [(item, score) for score, path in finished for item in items_of[path]][:beams]
    return [item for item, _ in ranked], [score for _, score in ranked]


def assert_same_ranking(
    found: tuple[np.ndarray, np.ndarray],
    expected: tuple[Sequence[int], Sequence[float]],
    tolerance: float = 1e-4,
) -> None:
    """The same items in the same order, but for swaps where scores are within the tolerance."""
    items, scores = found
    count = len(expected[0])
    assert (items[count:] == -1).all() and np.isneginf(scores[count:]).all()
    np.testing.assert_allclose(scores[:count], expected[1], atol=tolerance, rtol=0)
    assert (np.diff(scores[:count]) <= 0).all()
    assert set(items[:count].tolist()) == set(expected[0])
    score_of = dict(zip(*expected, strict=True))
    for item, score in zip(items[:count].tolist(), expected[1], strict=True):
        assert abs(score_of[item] - score) <= tolerance
