"""The items found for many prompts, searched for in batches that fit into memory."""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recllm.catalog.histories import History
from recllm.decoding.batching import plan_batches
from recllm.decoding.search import Search
from recllm.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ranking:
    """The best items of each row, best first.

    Attributes:
        items: (rows, beams) dense indices; -1 where fewer items are eligible.
        scores: (rows, beams) summed log-probability of the item's tokens; -inf there.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Constraints:
    """What each row may return: `exclude` none of these items, `only` these; None for all."""

    exclude: Sequence[History] | None = None
    only: Sequence[History] | None = None

    def take(self, rows: Sequence[int]) -> tuple[list[History] | None, list[History] | None]:
        """Both lists for some rows."""
        return take(self.exclude, rows), take(self.only, rows)


def take(lists: Sequence[History] | None, rows: Sequence[int]) -> list[History] | None:
    """The lists of some rows."""
    return None if lists is None else [lists[row] for row in rows]


def rank_in_batches(
    search: Search,
    prompts: Sequence[Sequence[int]],
    constraints: Constraints,
    *,
    extra: int,
    budget: int,
    progress: Callable[[int], None] | None = None,
) -> Ranking:
    """Search for the items of all rows; a batch for which memory does not suffice is halved.

    Args:
        extra, budget: see `plan_batches`.
        progress: called with the number of rows done since its last call.

    Raises:
        UserError: memory does not suffice for one row.
    """
    items = np.full((len(prompts), search.beams), -1, dtype=np.int32)
    scores = np.full((len(prompts), search.beams), -np.inf, dtype=np.float32)
    lengths = [len(prompt) for prompt in prompts]
    batches = plan_batches(lengths, extra, budget)
    while batches:
        rows = batches[0]
        try:
            subset = search.trie.restrict(*constraints.take(rows))
            found, found_scores = search.run([prompts[row] for row in rows], subset)
        except torch.OutOfMemoryError:
            budget = _less(rows, lengths, extra, search.beams)
        else:
            width = found.shape[1]
            items[rows, :width] = found.cpu().numpy()
            scores[rows, :width] = found_scores.cpu().numpy()
            if progress is not None:
                progress(len(rows))
            batches = batches[1:]
            continue
        # The exception has held on to what the batch had computed until here.
        gc.collect()
        torch.cuda.empty_cache()
        left = [row for batch in batches for row in batch]
        planned = plan_batches([lengths[row] for row in left], extra, budget)
        batches = [[left[place] for place in batch] for batch in planned]
    return Ranking(items, scores)


def _less(rows: Sequence[int], lengths: Sequence[int], extra: int, beams: int) -> int:
    """Half of the tokens that a batch held which was too large.

    Raises:
        UserError: it was one row.
    """
    longest = max(lengths[row] for row in rows)
    if len(rows) == 1:
        raise UserError(
            f"memory does not suffice for one prompt of {longest} tokens with {beams} beams; set "
            "fewer eval.beams, shorter histories (prompts.max_history), or model.dtype: bfloat16"
        )
    budget = len(rows) * (longest + extra) // 2
    log.warning(
        "memory does not suffice for %s rows at once; going on with batches of %s tokens",
        len(rows),
        f"{budget:,}",
    )
    return budget
