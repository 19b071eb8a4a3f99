"""The source `several`: two logs as one, and what cannot be joined."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from peer_data import TALLREC

from recllm.config.plugins import SOURCES
from recllm.data_prep.sources.several import Several
from recllm.errors import UserError

from .conftest import run_source


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def ingest(out: Path, parts: dict) -> tuple[list[dict], list[dict], dict[str, int]]:
    out.mkdir()
    counts = run_source(Several(parts=parts), out)
    tables = (pq.read_table(out / f"{name}.parquet").to_pylist() for name in TABLES)
    return *tables, counts


TABLES = ("interactions", "items")
FILMS = {"interactions.csv": "user_id,item_id,timestamp,rating\nu,x,5,4\nv,y,6,\n",
         "items.csv": "item_id,title\nx,Heat\ny,Net\n"}  # fmt: skip
BOOKS = {"interactions.csv": "user_id,item_id,timestamp\nu,x,9\n",
         "items.csv": "item_id,title,brand\nx,Emma,Austen\n"}  # fmt: skip


def test_users_and_items_of_one_id_keep_apart(tmp_path: Path) -> None:
    parts = {
        "film": {"source": "files", "path": write(tmp_path / "films", FILMS)},
        "book": {"source": "files", "path": write(tmp_path / "books", BOOKS)},
    }
    log, items, counts = ingest(tmp_path / "out", parts)
    assert [(r["row"], r["user_id"], r["item_id"], r["timestamp"], r["rating"]) for r in log] == [
        (0, "film/u", "film/x", 5, 4.0),
        (1, "film/v", "film/y", 6, None),
        (2, "book/u", "book/x", 9, None),
    ]
    assert [(r["item_id"], r["title"], r["brand"]) for r in items] == [
        ("book/x", "Emma", "Austen"),
        ("film/x", "Heat", None),
        ("film/y", "Net", None),
    ]
    assert (counts["interactions"], counts["items"], counts["order_only"]) == (3, 3, 0)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "interactions.parquet", "items.parquet",
    }  # fmt: skip


def test_ready_made_sequences_count_on(tmp_path: Path) -> None:
    given = write(tmp_path / "given", TALLREC)
    alone = tmp_path / "alone"
    alone.mkdir()
    run_source(SOURCES.load("tallrec")(path=given), alone)
    expected = pq.read_table(alone / "interactions.parquet").to_pylist()
    parts = {name: {"source": "tallrec", "path": str(given)} for name in ("one", "two")}
    log, _, counts = ingest(tmp_path / "out", parts)
    first, second = log[: len(expected)], log[len(expected) :]
    more = {"row": len(expected), "sequence": max(r["sequence"] for r in expected) + 1}
    for name, part, moved in (("one", first, {}), ("two", second, more)):
        for row, plain in zip(part, expected, strict=True):
            shifted = {column: plain[column] + by for column, by in moved.items()}
            ids = {column: f"{name}/{plain[column]}" for column in ("user_id", "item_id")}
            assert row == plain | shifted | ids
    assert counts["interactions"] == len(log) and counts["order_only"] == 1


def test_logs_that_are_not_alike_are_refused(tmp_path: Path) -> None:
    film = {"source": "files", "path": write(tmp_path / "films", FILMS)}
    prompts = {"source": "tallrec", "path": write(tmp_path / "prompts", TALLREC)}
    with pytest.raises(UserError, match="alike in order only, found it in b and not in a"):
        ingest(tmp_path / "out", {"a": film, "b": prompts})
    ordered = {"interactions.csv": "user_id,item_id\nu,x\n"}
    plain = {"source": "files", "path": write(tmp_path / "ordered", ordered)}
    with pytest.raises(UserError, match="alike in"):
        ingest(tmp_path / "more", {"a": plain, "b": prompts})


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"source": "flies"}, "b.source: unknown data source 'flies'; did you mean 'files'"),
        ({"source": "simulated", "userz": 3}, "b.userz"),
        ({"source": "simulated", "users": 0}, "b.users"),
    ],
)
def test_mistakes_in_a_part_are_named(part: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Several(parts={"a": {"source": "simulated"}, "b": part})
    with pytest.raises(ValueError, match="without a slash"):
        Several(parts={"a/b": {"source": "simulated"}, "c": {"source": "simulated"}})
