"""The trie against a dictionary from prefixes to allowed tokens.

A step answers, for 400 paths of a beam search (8 users, 50 beams), which tokens may follow: as a
tensor, since scores are masked with it. The dictionary does so as `generate` and the research
code on it do, by a line of the mask for each path, and, for comparison, as fast as one can. It
is spared what that code adds: string keys, and a mask over the whole vocabulary.

Items come and go: 1,000 of them removed from the catalogue, and a request that may return 1,000
alone, each against building the trie anew from what is left.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks._catalogue import Tokens, allowed_after, random_sids, sid_paths, sid_token_ids
from benchmarks._harness import Row, median_seconds, parse_small, report
from recllm.catalog.trie import Trie
from recllm.catalog.trie_subset import Subset

LEVELS, CODES = 3, 256
ROWS = 400
STEP_REPEATS = 51
#: Items removed, and items that a request may return.
CHANGED = 1000


@dataclass(frozen=True)
class Step:
    """The ways to find what may follow paths that end at `nodes` and are `prefixes`."""

    trie: Trie
    following: dict[Tokens, list[int]]
    nodes: Tensor
    prefixes: Tensor

    @classmethod
    def at(
        cls, level: int, trie: Trie, following: dict[Tokens, list[int]], paths: Tensor
    ) -> "Step":
        """The step from random nodes of a level; `paths` (items, levels) are all items' tokens."""
        generator = torch.Generator().manual_seed(0)
        first, after = trie.level_start[level : level + 2]
        nodes = torch.randint(first, after, (ROWS,), generator=generator)
        items = trie.order[trie.item_range(nodes)[0]]
        return cls(trie, following, nodes, paths[items, :level])

    def by_trie(self) -> tuple[Tensor, Tensor]:
        """The symbols of the children (rows, width), and which of them exist."""
        children, exists = self.trie.children(self.nodes)
        return self.trie.child_symbols(children), exists

    def by_loop(self) -> Tensor:
        """Which tokens may follow (rows, tokens), written path by path."""
        mask = torch.zeros(ROWS, LEVELS * CODES, dtype=torch.bool)
        for row, prefix in enumerate(self.prefixes.tolist()):
            mask[row, self.following[tuple(prefix)]] = True
        return mask

    def by_one_write(self) -> Tensor:
        """The same, written at once: the least that can be done with a dictionary of lists."""
        allowed = [self.following[tuple(prefix)] for prefix in self.prefixes.tolist()]
        counts = [len(tokens) for tokens in allowed]
        tokens = np.fromiter(chain.from_iterable(allowed), np.int64, sum(counts))
        mask = np.zeros((ROWS, LEVELS * CODES), dtype=bool)
        mask[np.repeat(np.arange(ROWS), counts), tokens] = True
        return torch.from_numpy(mask)

    def row(self, case: str, peer: Callable[[], Tensor]) -> Row:
        """The time of the step by the trie and by a peer, which must agree."""
        symbols, exists = self.by_trie()
        tokens = self.trie.alphabets[self.prefixes.shape[1]][symbols]
        # What does not exist is marked in a column of its own, which is dropped.
        mask = torch.zeros(ROWS, LEVELS * CODES + 1, dtype=torch.bool)
        mask.scatter_(1, tokens.masked_fill(~exists, LEVELS * CODES), True)
        if not torch.equal(mask[:, :-1], peer()):
            raise SystemExit(f"trie: the two allow different tokens in the case {case}")
        ours, theirs = (median_seconds(way, STEP_REPEATS) for way in (self.by_trie, peer))
        return Row(case, ours * 1000, theirs * 1000, "ms")


def dictionary_bytes(following: dict[Tokens, list[int]]) -> int:
    """What the dictionary takes, without the integers in it."""
    entries = sum(sys.getsizeof(prefix) + sys.getsizeof(a) for prefix, a in following.items())
    return sys.getsizeof(following) + entries


def changes(trie: Trie, codes: NDArray[np.int32], token_ids: NDArray[np.int64]) -> list[Row]:
    """Items removed, and a request's own items, against tries built of what is left."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(codes), CHANGED, replace=False).astype(np.int32)
    left = np.delete(np.arange(len(codes)), chosen)
    fewer, subset = trie.without(chosen), trie.restrict(None, [chosen])
    assert subset is not None
    rest, few = (Trie.from_sids(codes[items], token_ids) for items in (left, chosen))
    if found_items(fewer, None) != left.tolist() or found_items(rest, None) != list(
        range(len(left))
    ):
        raise SystemExit("trie: with items removed, others than those left are returned")
    if found_items(trie, subset) != sorted(chosen.tolist()) or len(few) != CHANGED:
        raise SystemExit("trie: a request gets others than its own items")

    def by_restricting() -> None:
        trie.restrict(None, [chosen])

    return [
        Row(
            f"{CHANGED:,} items removed",
            median_seconds(lambda: trie.without(chosen), STEP_REPEATS) * 1000,
            median_seconds(lambda: Trie.from_sids(codes[left], token_ids)) * 1000,
            "ms",
        ),
        Row(
            f"a request's own {CHANGED:,} items",
            median_seconds(by_restricting, STEP_REPEATS) * 1000,
            median_seconds(lambda: Trie.from_sids(codes[chosen], token_ids), STEP_REPEATS) * 1000,
            "ms",
        ),
    ]


def found_items(trie: Trie, subset: Subset | None) -> list[int]:
    """All items that a search through the trie may return, in the catalogue's order."""
    leaves = torch.arange(*trie.level_start[LEVELS : LEVELS + 2])[None]
    items, exists = trie.leaf_items(leaves, subset)
    assert torch.equal(trie.eligible(leaves, subset), exists.any(-1))
    return sorted(items[exists].tolist())


def main() -> None:
    """Measure steps, building and size. The bar is the widest step, from level 1 to level 2."""
    items = 20_000 if parse_small(__doc__) else 1_000_000
    codes = random_sids(items, LEVELS, CODES)
    token_ids = sid_token_ids(LEVELS, CODES, first=0)
    paths = sid_paths(codes, token_ids)
    trie, following = Trie.from_sids(codes, token_ids), allowed_after(paths)
    tokens = torch.tensor(paths)
    wide, last = (Step.at(level, trie, following, tokens) for level in (1, 2))
    print(f"{items:,} items, {LEVELS} levels of {CODES} codes; a step is one of {ROWS} rows")
    rows = [
        wide.row("bar", wide.by_loop),
        wide.row("bar, peer without loop", wide.by_one_write),
        last.row("last level", last.by_loop),
        last.row("last level, peer without loop", last.by_one_write),
        Row(
            "build",
            median_seconds(lambda: Trie.from_sids(codes, token_ids)),
            median_seconds(lambda: allowed_after(paths)),
            "s",
        ),
        Row("size", trie.nbytes, dictionary_bytes(following), "bytes"),
        *changes(trie, codes, token_ids),
    ]
    report("trie", rows)


if __name__ == "__main__":
    main()
