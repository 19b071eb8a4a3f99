"""A log with all that tasks can ask for, and a recipe for it."""

import json
from pathlib import Path

RECIPE = """
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{source: files, path: {folder}/log.csv, items: {folder}/items.csv, k_core: 0}}
embed: {{dimensions: 4, encoder: lsa}}
sid: {{quantizer: random, levels: 2, codes: 8}}
model: {{from_scratch: {{hidden: 32, layers: 1, heads: 2, vocabulary: 600}}}}
"""
USERS, ITEMS, LENGTH = 8, 12, 7
PREFERENCES = [(user, LENGTH * user + at) for user in range(USERS) for at in (1, 3)]


def write_inputs(folder: Path) -> None:
    """Eight users with seven interactions each, the last two held out; twelve items."""
    log = ["user_id,item_id,timestamp,rating"]
    log += [
        f"u{user},i{(5 * user + 7 * at) % ITEMS:02d},{at},{(user + at) % 5 + 1}"
        for user in range(USERS)
        for at in range(LENGTH)
    ]
    items = ["item_id,title,description"]
    items += [
        f"i{i:02d},Lamp of kind {i:02d},{'' if i == 4 else f'Gives light number {i:02d}'}"
        for i in range(ITEMS)
    ]
    preferences = [
        "user_id,row,taste",
        *(f"u{u},{row},likes light {row}" for u, row in PREFERENCES),
    ]
    intents = [
        {"item_id": f"i{(5 * user + 7 * at) % ITEMS:02d}", "user_id": f"u{user}",
         "row": LENGTH * user + at, "intent": f"to read at night {user}"}
        for user in range(USERS) for at in (2, LENGTH - 1)
    ]  # fmt: skip
    (folder / "log.csv").write_text("\n".join(log) + "\n")
    (folder / "items.csv").write_text("\n".join(items) + "\n")
    (folder / "preferences.csv").write_text("\n".join(preferences) + "\n")
    (folder / "intents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in intents))
