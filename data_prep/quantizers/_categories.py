"""The categories of items as paths, the most general one first."""

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.catalog.trie_building import ENDED
from recllm.errors import UserError

CategoryPath = tuple[str, ...]


def category_paths(items: Items, separator: str) -> list[CategoryPath]:
    """The path of each item; empty where it has no categories.

    What all items with categories have in common at the start tells none apart and is left out.

    Raises:
        UserError: no item has categories.
    """
    given = items.table["categories"].to_pylist() if "categories" in items.columns else []
    split = [[part.strip() for part in (text or "").split(separator)] for text in given]
    paths = [tuple(part for part in parts if part) for parts in split]
    known = [path for path in paths if path]
    if not known:
        raise UserError(
            f"sid.quantizer goes by categories, but none of {len(items)} items has any; give the "
            "items a column `categories`, or choose another sid.quantizer"
        )
    shared = 0
    while all(len(path) > shared and path[shared] == known[0][shared] for path in known):
        shared += 1
    return [path[shared:] for path in paths]


def category_codes(paths: list[CategoryPath], levels: int) -> tuple[NDArray[np.int32], list[int]]:
    """A code for each name at each depth, the same wherever the name stands at that depth.

    Returns:
        (items, levels) codes, `ENDED` after the end of a path; how many names each depth has.
    """
    codes = np.full((len(paths), levels), ENDED, dtype=np.int32)
    sizes = []
    for level in range(levels):
        names = sorted({path[level] for path in paths if len(path) > level})
        code_of = {name: code for code, name in enumerate(names)}
        codes[:, level] = [code_of[path[level]] if len(path) > level else ENDED for path in paths]
        sizes.append(len(names))
    return codes, sizes


def groups_of(paths: list[CategoryPath]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the different paths each item has, and its place among the items that have it."""
    number: dict[CategoryPath, int] = {}
    group = np.array([number.setdefault(path, len(number)) for path in paths], dtype=np.int64)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(number)))
    place = np.empty(len(paths), dtype=np.int64)
    place[order] = np.arange(len(paths)) - starts[group[order]]
    return group, place
