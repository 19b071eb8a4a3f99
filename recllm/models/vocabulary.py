"""New rows of the embedding and of the head, started from what the old rows look like."""

from typing import Any

import torch
from scipy.sparse import csr_matrix
from transformers import PreTrainedModel

#: How far new rows are spread, as a share of the old rows' spread: all near their mean, so that
#: no new token is likelier than an old one before it is trained, yet all different.
SPREAD = 0.1
#: The old rows that the covariance is taken from, so that memory stays small for any vocabulary.
SAMPLE = 4096


def extend_vocabulary(
    model: PreTrainedModel, known: int, size: int, seed: int, means: csr_matrix | None = None
) -> None:
    """Give the tokens from `known` to `size` rows of their own; rows below stay as they are.

    New rows are drawn from a normal distribution with the old rows' mean and a scaled-down
    version of their covariance (Hewitt, "Initializing New Word Embeddings", 2021). Checkpoints
    often have more rows than their tokenizer has tokens: new tokens take those first, and they
    are drawn too, for they were never trained. Rows are never cut.

    Args:
        known: how many tokens the tokenizer had before it was extended.
        size: how many it has now.
        means: (size - known, known) which old rows a new one is drawn around, by shares that sum
            to 1, in place of the mean of all; an empty row stands for that mean.
    """
    if size <= known:
        return
    if size > _weight(model.get_input_embeddings()).shape[0]:
        model.resize_token_embeddings(size, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    tables = [_weight(model.get_input_embeddings())]
    head = model.get_output_embeddings()
    if head is not None and _weight(head) is not tables[0]:
        tables.append(_weight(head))
    for table in tables:
        _draw_rows(table, known, size, generator, means)


def _weight(module: Any) -> torch.Tensor:
    return module.weight


@torch.no_grad()
def _draw_rows(
    table: torch.Tensor,
    known: int,
    size: int,
    generator: torch.Generator,
    means: csr_matrix | None,
) -> None:
    sample = torch.randperm(known, generator=generator)[:SAMPLE].to(table.device)
    rows = table[sample].float()
    mean = rows.mean(dim=0)
    # A random combination of the centred rows has their covariance; no factorisation needed.
    weights = torch.randn(size - known, len(rows), generator=generator).to(table.device)
    drawn = mean + SPREAD * (weights @ (rows - mean)) / len(rows) ** 0.5
    if means is not None:
        around = torch.from_numpy(means @ table[:known].float().cpu().numpy()).to(table.device)
        has_own = torch.from_numpy(means.getnnz(axis=1) > 0).to(table.device)
        drawn[has_own] += around[has_own] - mean
    table[known:size] = drawn.to(table.dtype)
