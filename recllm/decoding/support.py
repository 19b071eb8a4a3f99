"""Which models the engine can decode: softmax attention, and logits that are the head's own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recllm.catalog.trie import Trie
from recllm.decoding.scoring import SCORINGS, Head
from recllm.decoding.tree import TokenTree
from recllm.errors import UserError

_FALLBACK = "decode with generate instead"
_ATTENTION = {"full_attention", "sliding_attention"}


def decoder_config(model: Any) -> Any:
    """The configuration of the text decoder of `model`."""
    return model.config.get_text_config(decoder=True)


def uses_boolean_mask(model: Any) -> bool:
    """Whether attention takes a boolean mask (sdpa), or one to be added (eager).

    Raises:
        UserError: it is another implementation, which would not follow the tree's mask.
    """
    implementation = decoder_config(model)._attn_implementation
    if implementation not in {"sdpa", "eager"}:
        raise UserError(
            f"expected attention by sdpa or eager, found {implementation!r}; "
            "load the model with attn_implementation='sdpa'"
        )
    return implementation == "sdpa"


def check_search(trie: Trie, beams: int, scoring: str) -> None:
    """Refuse a search that a trie does not allow.

    Raises:
        UserError: it does not.
    """
    if beams < 1 or scoring not in SCORINGS:
        raise UserError(
            f"expected beams of at least 1 and scoring out of {', '.join(SCORINGS)}; "
            f"found {beams} and {scoring!r}"
        )
    if scoring == "level" and trie.eos is not None:
        raise UserError("scoring 'level' needs item paths of one length; use 'vocab' or 'trie'")


def check_vocabulary(trie: Trie, head: Head) -> Tensor:
    """The distinct tokens of a trie, ascending.

    Raises:
        UserError: the head has no row for one.
    """
    used, vocabulary = torch.cat(trie.alphabets).unique(), len(head.weight)
    if int(used[-1]) >= vocabulary:
        raise UserError(
            f"the trie holds token {int(used[-1])}, but the model's vocabulary has "
            f"{vocabulary}; resize its embeddings to the tokenizer, or load its checkpoint"
        )
    return used


def check_lengths(prompts: Sequence[Sequence[int]], trie: Trie, limit: int | None) -> None:
    """Refuse prompts that leave no room for an item.

    Args:
        limit: see `longest_path`.

    Raises:
        UserError: a prompt is empty or too long.
    """
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise UserError(f"expected at least one token in each prompt, found none in {row}")
        if limit is not None and len(prompt) + trie.depth > limit:
            raise UserError(
                f"expected prompts of at most {limit - trie.depth} tokens (the model "
                f"takes {limit}), found {len(prompt)} in prompt {row}; shorten the histories"
            )


def longest_path(config: Any) -> int | None:
    """How many tokens prompt and item may have together; None where nothing bounds them.

    The bound is the position embeddings' or the attention window's, whichever is less: within
    the window, sliding attention is full attention.

    Args:
        config: of a model, as transformers has it.
    """
    config = config.get_text_config(decoder=True)
    layers = getattr(config, "layer_types", None)
    slides = layers is None or "sliding_attention" in layers
    window = getattr(config, "sliding_window", None) if slides else None
    bounds = [getattr(config, "max_position_embeddings", None), window]
    return min((bound for bound in bounds if bound is not None), default=None)


def check_layers(model: Any) -> None:
    """Refuse models whose layers would mix the branches of the tree.

    Raises:
        UserError: a layer is not softmax attention, or the model is an encoder-decoder.
    """
    config = decoder_config(model)
    others = sorted(set(getattr(config, "layer_types", None) or ()) - _ATTENTION)
    if others or getattr(model, "_is_stateful", False):
        found = ", ".join(others) or "recurrent layers"
        raise UserError(
            f"expected softmax attention in every layer, found {found} "
            f"({config.model_type}); {_FALLBACK}"
        )
    if model.config.is_encoder_decoder:
        raise UserError(f"expected a decoder-only model, found {config.model_type}; {_FALLBACK}")


def check_by_running(model: Any, tokens: Tensor, scored: Tensor) -> None:
    """Run two branches of two tokens, in a tree and apart, and compare.

    This finds what configurations do not tell: logits that are scaled or capped after the head,
    and layers that ignore the mask or the position ids.

    Args:
        model: in eval mode.
        tokens: (2,) different token ids.
        scored: (n,) the tokens whose logits are compared; all of a large head would be slow.

    Raises:
        UserError: the logits differ.
    """
    first, second = tokens.tolist()
    decoder, head = model.get_decoder(), Head.of(model)
    apart = torch.tensor([[first, first], [first, second]], device=tokens.device)
    # The class's own forward: a trainer's, with mixed precision around it, would round otherwise.
    forward = type(model).forward
    expected = forward(model, input_ids=apart, use_cache=False).logits[:, -1, scored]
    tree = TokenTree(decoder, [[first]], boolean_mask=uses_boolean_mask(model))
    tree.append(tokens[None], torch.zeros_like(tokens)[None])
    difference = (head.logits(tree.hidden[0], scored) - expected.float()).abs().max()
    # LLM.int8 rounds what goes into a layer to 8 bits, now this way and now that.
    exact = head.weight.dtype == torch.float32 and not getattr(model, "is_loaded_in_8bit", False)
    tolerance = 1e-3 if exact else 0.1
    if difference > tolerance * expected.abs().max().clamp(min=1.0):
        raise UserError(
            f"expected the logits of {decoder_config(model).model_type} to be its head's on tree "
            f"attention, found a difference of {difference:.2g}; {_FALLBACK}"
        )
