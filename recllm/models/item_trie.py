"""The trie of a catalogue in the tokens of one tokenizer."""

from recllm.catalog.sids import SidIndex
from recllm.catalog.trie import Trie
from recllm.models.tokenizers import sid_token_ids
from recllm.prompts.renderer import Renderer
from recllm.prompts.training import end_token


def item_trie(renderer: Renderer) -> Trie:
    """The items' paths as a trie of token ids, as completions have them.

    Where paths differ in length, each is closed by the end-of-sequence token.

    Raises:
        UserError: the tokenizer lacks SID tokens, or a title holds the end-of-sequence token.
    """
    index = renderer.catalog.sids
    if isinstance(index, SidIndex):
        eos = end_token(renderer) if index.variable_depth else None
        return Trie.from_sids(index.codes, sid_token_ids(renderer.tokenizer, index), eos)
    return Trie.from_token_sequences(renderer.encode_answers(index.texts()), end_token(renderer))
