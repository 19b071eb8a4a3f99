"""Where the rows of SID tokens start: at what the titles of their items are made of."""

import numpy as np
from scipy.sparse import csr_matrix, vstack
from transformers import PreTrainedTokenizerBase

from recllm.catalog.sids import SidIndex
from recllm.models.tokenizers import sid_token_ids
from recllm.prompts.examples import CatalogText


def title_averages(
    catalog: CatalogText, tokenizer: PreTrainedTokenizerBase, known: int
) -> csr_matrix | None:
    """For each new token, the shares that old tokens have in the titles of its items.

    A code's row is the mean over the items with that code at its level, whatever stands before it,
    of the mean over the tokens of the item's title.

    Args:
        tokenizer: with the SID tokens.
        known: how many tokens there were before them.

    Returns:
        (new tokens, known), rows that sum to 1; empty where no item has the code, or none of them
        a title. None where items go by their titles.
    """
    index = catalog.sids
    if not isinstance(index, SidIndex):
        return None
    titles = _token_shares(tokenizer, catalog.one_line_titles, known)
    levels = [_items_of(index.codes[:, level], size) for level, size in enumerate(index.sizes)]
    shares = _rows_to_one(csr_matrix(vstack(levels) @ titles))
    ids = np.concatenate(sid_token_ids(tokenizer, index))
    new = np.flatnonzero(ids >= known)
    placed = csr_matrix(
        (np.ones(len(new), np.float32), (ids[new] - known, new)),
        shape=(len(tokenizer) - known, len(ids)),
    )
    return csr_matrix(placed @ shares)


def _token_shares(tokenizer: PreTrainedTokenizerBase, texts: list[str], known: int) -> csr_matrix:
    """(texts, known) how much of each text each old token is."""
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    lengths = [len(ids) for ids in encoded]  # type: ignore[arg-type]
    rows = np.repeat(np.arange(len(texts)), lengths)
    tokens = np.fromiter((token for ids in encoded for token in ids), np.int64, sum(lengths))
    old = tokens < known  # a title may hold what looks like a SID
    ones = np.ones(int(old.sum()), np.float32)
    return _rows_to_one(csr_matrix((ones, (rows[old], tokens[old])), shape=(len(texts), known)))


def _items_of(codes: np.ndarray, size: int) -> csr_matrix:
    """(codes, items) 1 where an item has the code; one that has ended has none."""
    items = np.flatnonzero(codes >= 0)
    ones = np.ones(len(items), np.float32)
    return csr_matrix((ones, (codes[items], items)), shape=(size, len(codes)))


def _rows_to_one(matrix: csr_matrix) -> csr_matrix:
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    matrix.data /= np.repeat(sums, np.diff(matrix.indptr))
    return matrix
