"""MiniOneRec's data (Kong et al., 2025, arXiv:2510.24431): rows in CSV, items in JSON and text."""

import csv
from pathlib import Path
from typing import TextIO

from recllm.catalog.histories import SplitRows
from recllm.data_prep.exports import Export
from recllm.data_prep.exports._item_files import write_item_files
from recllm.data_prep.exports._prepared import Prepared

HEADER = (
    "user_id",
    "history_item_title",
    "item_title",
    "history_item_id",
    "item_id",
    "history_item_sid",
    "item_sid",
)


class Minionerec(Export):
    """`train/`, `valid/` and `test/NAME.csv`, `info/NAME.txt`, `index/NAME.index.json`, ….

    Histories are cut to `prompts.max_history`: MiniOneRec shows all that a row has.
    """

    def write(self, prepared: Prepared, name: str, out: Path) -> dict[str, int]:
        """See `Export.write`; counts the histories that were cut."""
        counts = {}
        cut = 0
        for split, rows in prepared.rows.items():
            (out / split).mkdir()
            with (out / split / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                cut += _write_rows(prepared, rows, file)
            counts[split] = len(rows)
        (out / "info").mkdir()
        with (out / "info" / f"{name}.txt").open("w", encoding="utf-8", newline="") as file:
            _write_info(prepared, file)
        (out / "index").mkdir()
        write_item_files(prepared, name, out / "index")
        return counts | {"items": len(prepared.items), "histories_cut": cut}


def _write_rows(prepared: Prepared, rows: SplitRows, file: TextIO) -> int:
    """Write the rows of a split, lists as Python writes them; how many histories were cut."""
    titles, numbers = prepared.items.titles, prepared.numbers
    sids = ["".join(tokens) for tokens in prepared.sids]
    write = csv.writer(file, lineterminator="\n").writerow
    # Of the line ends, the writer quotes only its own.
    write_quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
    write(HEADER)
    cut = 0
    for index, (user, target) in enumerate(zip(rows.user_ids, rows.target, strict=True)):
        history = rows.history(index)
        cut += len(history) > prepared.max_history
        shown = history[-prepared.max_history :].tolist()
        row = (
            user,
            str([titles[item] for item in shown]),
            titles[target],
            str([numbers[item] for item in shown]),
            numbers[target],
            str([sids[item] for item in shown]),
            sids[target],
        )
        (write_quoted if "\r" in user + titles[target] else write)(row)
    return cut


def _write_info(prepared: Prepared, file: TextIO) -> None:
    """Write SID, title and number of each item on a line; a title's own line ends are blanks."""
    for item in prepared.in_order:
        title = " ".join(prepared.items.titles[item].split())
        sid = "".join(prepared.sids[item])
        file.write(f"{sid}\t{title}\t{prepared.numbers[item]}\n")
