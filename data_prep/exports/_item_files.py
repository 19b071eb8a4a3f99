"""The files of items that MiniOneRec and LC-Rec have in common."""

import csv
import json
from pathlib import Path
from typing import Any

from recllm.data_prep.exports._prepared import Prepared


def write_item_files(prepared: Prepared, name: str, out: Path) -> None:
    """Write `.item.json` (texts), `.index.json` (SIDs) and `.item2id` (own ids), by number.

    The last is written where the numbers are not the items' own ids.
    """
    table = prepared.items.table
    columns = {
        name: table[name].to_pylist() if name in table.column_names else [None] * len(table)
        for name in ("title", "description", "brand", "categories")
    }
    texts, index = {}, {}
    for item in prepared.in_order:
        number = str(prepared.numbers[item])
        texts[number] = {column: values[item] or "" for column, values in columns.items()}
        index[number] = prepared.sids[item]
    write_json(out / f"{name}.item.json", texts, indent=2)
    write_json(out / f"{name}.index.json", index)
    if [str(number) for number in prepared.numbers] != prepared.items.ids:
        with (out / f"{name}.item2id").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\r\n")
            writer.writerows(
                (prepared.items.ids[item], prepared.numbers[item]) for item in prepared.in_order
            )


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write JSON, text as it is and not escaped."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=indent)
