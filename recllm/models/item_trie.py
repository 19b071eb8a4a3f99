"""The trie of a catalogue in the tokens of one tokenizer."""

import numpy as np

from recllm.catalog.sids import SidIndex
from recllm.catalog.trie import Trie
from recllm.catalog.trie_building import ENDED
from recllm.models.tokenizers import NO_TOKEN, known_sid_token_ids
from recllm.prompts.renderer import Renderer
from recllm.prompts.training import end_token


def item_trie(renderer: Renderer) -> Trie:
    """The items' paths as a trie of token ids, as completions have them.

    Where paths differ in length, or the template gives answers an ending, each is closed by the
    end-of-sequence token.

    Raises:
        UserError: the tokenizer lacks SID tokens, or a title holds the end-of-sequence token.
    """
    index = renderer.catalog.sids
    if isinstance(index, SidIndex) and renderer.template.ending is None:
        return _trie_of_codes(renderer, index)
    return Trie.from_token_sequences(renderer.encode_answers(index.texts()), end_token(renderer))


def _trie_of_codes(renderer: Renderer, index: SidIndex) -> Trie:
    """The trie of SIDs; codes that no item has and that have no token are none of its symbols."""
    known = known_sid_token_ids(renderer.tokenizer, index)
    kept = [np.flatnonzero(ids != NO_TOKEN) for ids in known]
    places = [np.searchsorted(k, c) for k, c in zip(kept, index.codes.T, strict=True)]
    codes = np.where(index.codes == ENDED, ENDED, np.stack(places, axis=1))
    tokens = [ids[k] for ids, k in zip(known, kept, strict=True)]
    return Trie.from_sids(codes, tokens, end_token(renderer) if index.variable_depth else None)
