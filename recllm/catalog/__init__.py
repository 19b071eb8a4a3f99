"""The catalogue: items, semantic IDs, and the trie over them."""
