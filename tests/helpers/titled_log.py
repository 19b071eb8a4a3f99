"""A log whose items have titles, and more items that come later; a recipe for it."""

from pathlib import Path

import numpy as np

RECIPE = """
extends: base/quickstart
output_dir: {folder}/run
cache_dir: {folder}/cache
data:
  source: files
  path: {folder}/log.csv
  items: {folder}/items.csv
  columns: {{user: u, item: i, time: t, item_id: code, title: name}}
  k_core: 2
embed: {{dimensions: 8}}
sid: {{levels: 3, codes: 8, health: {{max_resolution_cost: 10}}}}
model: {{from_scratch: {{hidden: 32, layers: 1, heads: 2, dropout: 0, vocabulary: 300}}}}
sft: {{trainer: {{num_train_epochs: 1, per_device_train_batch_size: 32, learning_rate: 5e-3}}}}
eval: {{beams: 10, cutoffs: [5, 10], bootstrap: 100}}
"""
ITEMS, USERS = 40, 60
NOUNS = ("river", "harbor", "silent road", "garden", "night", "old mill", "tower", "sea")


def title(item: int) -> str:
    """Two neighbours in four have a title in common."""
    return f"The {NOUNS[item % 8]} part {item - item % 4 // 3}"


def item_rows(first: int, last: int) -> str:
    """Rows of the items file without its header."""
    return "".join(f"i{item},{title(item)}\n" for item in range(first, last))


def write_titled_log(folder: Path) -> Path:
    """Write the log, the items file and the recipe; the recipe's path."""
    rng = np.random.default_rng(0)
    rows = [
        f"u{user},i{(first + step) % ITEMS},{place}\n"
        for user, first in enumerate(rng.integers(0, ITEMS, USERS))
        for place, step in enumerate(rng.permutation(9)[:7])
    ]
    (folder / "log.csv").write_text("u,i,t\n" + "".join(rows))
    (folder / "items.csv").write_text("code,name\n" + item_rows(0, ITEMS))
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    return folder / "recipe.yaml"
