"""Tokenizers: from the Hub or a folder, or trained on the item text; extended by SID tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from recllm.catalog.sids import ItemIndex, SidIndex, sid_token
from recllm.catalog.trie_building import ENDED
from recllm.config.schema import ModelSection
from recllm.errors import UserError
from recllm.models.hub_errors import explain, find_hub_error
from recllm.models.model_names import Place, tokenizer_source

END_TOKEN = "<|endoftext|>"
PAD_TOKEN = "<|pad|>"
#: In the place of a token's id: there is none.
NO_TOKEN = -1


def load_tokenizer(section: ModelSection, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """The tokenizer that a recipe's model uses, before SID tokens.

    Args:
        texts: what a `from_scratch` tokenizer is trained on.

    Raises:
        UserError: the model's tokenizer cannot be loaded.
    """
    if section.from_scratch is not None:
        return train_tokenizer(texts, section.from_scratch.vocabulary)
    assert section.name is not None
    tokenizer = load_tokenizer_of(section.name, section.trust_remote_code)
    if tokenizer.eos_token is None:
        raise UserError(f"model {section.name}: its tokenizer has no end-of-sequence token")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_tokenizer_of(name: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; an adapter's own, or where it has none, that of its base.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    place = tokenizer_source(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if place.revision is not None:
        options["revision"] = place.revision
    try:
        return AutoTokenizer.from_pretrained(place.name, **options)
    except (OSError, ValueError) as error:
        raise UserError(cannot_load("tokenizer", place, error)) from None


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer trained on `texts`; the same texts give the same tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_TOKEN, PAD_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_TOKEN, pad_token=PAD_TOKEN
    )


def add_sid_tokens(tokenizer: PreTrainedTokenizerBase, sids: ItemIndex) -> None:
    """Add every SID token that the tokenizer lacks; titles need none.

    They are ordinary tokens, not special ones: `skip_special_tokens` must not strip an answer.
    """
    from tokenizers import AddedToken

    known = tokenizer.get_vocab()
    missing: list[Any] = [
        AddedToken(token, special=False, normalized=False)
        for token in sids.tokens()
        if token not in known
    ]
    tokenizer.add_tokens(missing)


def sid_token_ids(tokenizer: PreTrainedTokenizerBase, sids: SidIndex) -> list[NDArray[np.int64]]:
    """For each level, the token id of each of its codes.

    Raises:
        UserError: the tokenizer lacks SID tokens of this index.
    """
    _require_tokens(tokenizer, sids.tokens())
    return known_sid_token_ids(tokenizer, sids)


def known_sid_token_ids(
    tokenizer: PreTrainedTokenizerBase, sids: SidIndex
) -> list[NDArray[np.int64]]:
    """As `sid_token_ids`; `NO_TOKEN` for a code that no item has and that has no token.

    Tokenizers that other projects extended have tokens for the codes of their items alone.

    Raises:
        UserError: the tokenizer lacks SID tokens of items, or splits one into several.
    """
    used = used_tokens(sids)
    _require_tokens(tokenizer, used)
    vocabulary = tokenizer.get_vocab()
    written = tokenizer(used, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    split = [t for t, ids in zip(used, written, strict=True) if ids != [vocabulary[t]]]  # type: ignore[arg-type]
    if split:
        raise UserError(
            f"the tokenizer splits {len(split)} SID tokens of this index into several, such as "
            f"{split[0]}; add them to it as tokens of their own, as the model was trained"
        )
    ids = [vocabulary.get(token, NO_TOKEN) for token in sids.tokens()]
    return np.split(np.array(ids, dtype=np.int64), np.cumsum(sids.sizes)[:-1])


def used_tokens(sids: SidIndex) -> list[str]:
    """The tokens of the codes that items have, level by level."""
    of_levels = (np.unique(codes[codes != ENDED]).tolist() for codes in sids.codes.T)
    return [sid_token(level, code) for level, codes in enumerate(of_levels) for code in codes]


def _require_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in tokens if token not in vocabulary]
    if missing:
        raise UserError(
            f"the tokenizer lacks {len(missing)} SID tokens of this index, such as {missing[0]}; "
            "the checkpoint was trained with other SIDs: use the SIDs in the checkpoint's folder"
        )


def cannot_load(what: str, place: Place, error: Exception, wanted: str = "model.name") -> str:
    """The message for a model or tokenizer that transformers could not load.

    Args:
        wanted: what names it.
    """
    hub = find_hub_error(error)
    if hub is not None:
        why = explain(hub, place.name, place.revision)
        return f"{wanted}: the {what} of {place.name!r} cannot be loaded: {why}"
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    return (
        f"{wanted}: the {what} of {place.name!r} cannot be loaded: {first_line} "
        "(expected a local folder, or a Hub id that can be reached)"
    )
