"""TALLRec's prompts (Bao et al., RecSys 2023, arXiv:2305.00447): liked, disliked, and a verdict."""

from pathlib import Path

from pydantic import Field

from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import write_log
from recllm.data_prep.sources._peer_files import folder_of, listed
from recllm.data_prep.sources._reading import column_names, load
from recllm.data_prep.sources._rejects import refuse
from recllm.data_prep.sources.chains import SPLITS, as_log
from recllm.data_prep.tables import Column, Connection, Table, materialise, scalars
from recllm.errors import UserError

#: Titles in quotes with commas between, books with their author: "A", "B" written by C.
LISTED = r'((?:"[^\n]*"[^"\n]*)?)'
INPUT = (
    rf"^User Preference: *{LISTED}\nUser Unpreference: *{LISTED}\n"
    r'Whether the user will like the target [^"\n]*("[^\n]+"[^"\n]*)\?\s*\z'
)
YES, NO = r"(?i)^\s*yes\.?\s*\z", r"(?i)^\s*no\.?\s*\z"
BETWEEN = ', "'


class Tallrec(Source):
    """Goes with `split: given` and `k_core: 0`: each prompt is a sequence of its own.

    Reads JSON files with `train`, `valid` or `test` in their names: rows of `instruction`, `input`
    and `output`. The titles are the items, and their ids. A sequence is what the prompt says was
    liked, in its order, then what was disliked, then the target: how the two lists were mixed is
    not said. An interaction has the rating 1 and the behavior `like`, or 0 and `dislike`; for a
    target that is the answer, Yes or No. So the label of a row is its target's rating, and a
    recipe can choose targets and histories by behavior.
    """

    path: Path = Field(description="a folder with TALLRec's train, valid and test JSON")

    def input_files(self) -> list[Path]:
        """The files of the splits that there are."""
        return list(self._files().values())

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read the prompts and put each into a sequence.

        Counts prompts (`rows`), answers (`yes`, `no`), what the histories hold (`liked`,
        `disliked`), `targets_without_history` and splits without a file (`missing_splits`).
        """
        import ibis

        files = self._files()
        parts = [
            _places(_rows(con, path), split).mutate(part=ibis.literal(SPLITS.index(split)))
            for split, path in files.items()
        ]
        placed = materialise(con, ibis.union(*parts))
        target, liked = placed.is_target, placed.rating == 1
        sums = {
            "rows": target.sum(),
            "yes": (target & liked).sum(),
            "no": (target & ~liked).sum(),
            "liked": (~target & liked).sum(),
            "disliked": (~target & ~liked).sum(),
            "targets_without_history": (target & (placed.history == 0)).sum(),
        }
        counts = {name: int(n or 0) for name, n in scalars(placed.aggregate(**sums)).items()}
        counts |= {"order_only": 1, "missing_splits": len(SPLITS) - len(files)}
        log = materialise(con, as_log(con, placed, "rating", "behavior"))
        titles = log.select("item_id").distinct()
        return counts | write_log(con, log, titles.mutate(title=titles.item_id), out)

    def _files(self) -> dict[str, Path]:
        """The JSON file of each split that there is.

        Raises:
            UserError: there is none, or several of a split.
        """
        folder = folder_of(self.path, "TALLRec")
        paths = sorted([*folder.glob("*.json"), *folder.glob("*.json.gz")])
        found = {split: [p for p in paths if split in p.name] for split in SPLITS}
        for split, several in found.items():
            if len(several) > 1:
                names = ", ".join(path.name for path in several)
                raise UserError(f"{folder}: expected one {split} file, found {names}; keep one")
        files = {split: several[0] for split, several in found.items() if several}
        if not files:
            raise UserError(
                f"{folder}: expected TALLRec's files, such as test.json, found {listed(folder)}"
            )
        return files


def _rows(con: Connection, path: Path) -> Table:
    """The prompts of a file: line, liked and disliked (lists), target, rating."""
    import ibis

    found = column_names(con, path)
    if not {"input", "output"} <= set(found):
        raise UserError(
            f"{path}: expected objects with instruction, input and output, found {', '.join(found)}"
        )
    table = load(con, path, {"input": "input", "output": "output"})
    yes, no = (table.output.re_search(answer).fill_null(False) for answer in (YES, NO))
    understood = table.input.re_search(INPUT).fill_null(False)
    refuse(path, table, {"input": ~understood, "output": ~(yes | no)})
    liked, disliked, target = (table.input.re_extract(INPUT, group) for group in (1, 2, 3))
    return table.select(
        line=table.row,
        liked=_titles(liked),
        disliked=_titles(disliked),
        target=ibis.array([target]),
        rating=ibis.ifelse(yes, 1.0, 0.0),
    )


def _titles(listed: Column) -> Column:
    """The titles of a list, still with the quotes around them, but where they were parted."""
    import ibis

    nothing = ibis.literal([], type="array<string>")
    return ibis.ifelse(listed == "", nothing, listed.split(BETWEEN))


def _places(rows: Table, split: str) -> Table:
    """One row for each title of each prompt; see `chains.as_log`."""
    import ibis

    one: Column = ibis.literal(1).cast("float64")  # Spark takes 1.0 for a decimal
    rated = [
        ("liked", rows.liked, 0, one),
        ("disliked", rows.disliked, rows.liked.length(), 1 - one),
        ("target", rows.target, rows.liked.length() + rows.disliked.length(), rows.rating),
    ]
    parts = []
    for name, titles, before, rating in rated:
        is_target = ibis.literal(name == "target")
        part = rows.select("line", titles=titles, before=before, value=rating, mark=is_target)
        part = part.unnest("titles", offset="place")
        parts.append(
            part.select(
                "line",
                item_id=_title(part.titles),
                offset=part.place + part.before,
                history=ibis.ifelse(part.mark, part.before, 0).cast("int64"),
                rating=part.value,
                is_target=part.mark,
            )
        )
    placed: Table = ibis.union(*parts)
    return placed.mutate(
        first=placed.line,
        user_id=f"{split} row " + (placed.line + 1).cast("string"),
        split=ibis.ifelse(placed.is_target | ibis.literal(split == "train"), split, None),
        behavior=ibis.ifelse(placed.rating == 1, "like", "dislike"),
    )


def _title(quoted: Column) -> Column:
    """A title without its quotes; a book's with its author: `Emma written by Jane Austen`."""
    bare = quoted.re_replace(r'^"', "").re_replace(r'"\s*\z', "")
    return bare.re_replace(r'"\s*written by\s*', " written by ")
