"""Looking into a trie from outside."""

import torch

from recllm.catalog.trie import Trie


def prefix_nodes(trie: Trie) -> dict[tuple[int, ...], int]:
    """Every prefix that the trie holds, and its node, found by `children` alone."""
    found: dict[tuple[int, ...], int] = {(): 0}
    level: list[tuple[tuple[int, ...], int]] = [((), 0)]
    for tokens in trie.alphabets:
        children, exists = trie.children(torch.tensor([node for _, node in level]))
        symbols = trie.child_symbols(children)
        assert torch.equal(symbols[exists], trie.symbols(children[exists]))
        level = [
            ((*prefix, int(tokens[symbol])), int(child))
            for (prefix, _), *row in zip(level, children, exists, symbols, strict=True)
            for child, real, symbol in zip(*row, strict=True)
            if real
        ]
        found.update(level)
    return found
