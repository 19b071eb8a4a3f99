"""What holds for every source, the stage that runs them, and MovieLens with its download."""

import hashlib
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import peer_data
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.config.plugins import SOURCES
from recllm.config.schema import DataSection
from recllm.data_prep.ingest import INTERACTIONS, ITEMS, OPTIONAL_INTERACTIONS, Ingest, check_tables
from recllm.data_prep.sources import Source, movielens
from recllm.data_prep.tables import session
from recllm.errors import UserError

from .conftest import make_recipe, run_source

RATINGS = "userId,movieId,rating,timestamp\n7,31,2.5,1260759144\n7,5,3.0,1260759179\n8,31,4,12\n"
MOVIES = 'movieId,title,genres\n31,"Net, The (1995)",Action|Drama\n5,Heat,(no genres listed)\n'


REVIEW = '{"reviewerID": "a", "asin": "B1", "overall": 5.0, "unixReviewTime": 5}\n'


def options(name: str, folder: Path) -> dict[str, Any]:
    """Options, and the files they need, for a tiny log of each source."""
    if name == "simulated":
        return {"users": 20, "items": 12, "interactions_per_user": 4}
    if name == "several":
        part = {"source": "simulated", "users": 20, "items": 12, "interactions_per_user": 4}
        return {"parts": {"one": part, "two": part | {"simulation_seed": 1}}}
    files = {
        "files": {"interactions.csv": "user_id,item_id\na,x\nb,y\n", "items.csv": "item_id\nx\n"},
        "movielens": {"ratings.csv": RATINGS, "movies.csv": MOVIES},
        "amazon": {
            "Toys_5.json": REVIEW + REVIEW.replace("B1", "B2"),
            "meta_Toys.json": '{"asin": "B1", "title": "A &amp; B", "description": ["x", "y"]}\n',
        },
        "chains": {
            f"{split}.csv": "user_id,history,target\na,x y,z\n"
            for split in ("train", "valid", "test")
        },
        "minionerec": peer_data.MINIONEREC,
        "lcrec": peer_data.LCREC,
        "tallrec": peer_data.TALLREC,
        "hub": peer_data.HUB,
    }
    for file, text in files[name].items():
        (folder / file).write_text(text)
    return {"path": folder}


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_writes_the_tables_it_counts(name: str, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    source: Source = SOURCES.load(name)(**options(name, given))
    assert all(path.is_file() for path in source.input_files())
    out = tmp_path / "out"
    out.mkdir()
    counts = run_source(source, out)
    with session() as con:
        check_tables(con, out)
    log, items = pq.read_table(out / "interactions.parquet"), pq.read_table(out / "items.parquet")
    assert {"interactions": log.num_rows, "items": items.num_rows}.items() <= counts.items()
    assert log["row"].to_pylist() == list(range(log.num_rows))
    assert all(type(count) is int for count in counts.values())
    assert set(log.column_names) <= {*INTERACTIONS, *OPTIONAL_INTERACTIONS}
    assert set(items.column_names) <= {*ITEMS, "description", "categories", "brand", "sid"}
    again = tmp_path / "again"
    again.mkdir()
    run_source(source, again)
    assert pq.read_table(again / "interactions.parquet") == log
    assert pq.read_table(again / "items.parquet") == items


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_gives_the_same_on_spark(
    name: str, spark: DataSection, tmp_path: Path
) -> None:
    given, folders = tmp_path / "given", [tmp_path / "duckdb", tmp_path / "spark"]
    for folder in (given, *folders):
        folder.mkdir()
    source: Source = SOURCES.load(name)(**options(name, given))
    counts = [run_source(source, folders[0]), run_source(source, folders[1], spark)]
    assert counts[0] == counts[1]
    for table in ("interactions", "items"):
        one, other = (pq.read_table(folder / f"{table}.parquet") for folder in folders)
        assert one.schema.types == other.schema.types
        assert one.to_pylist() == other.to_pylist()


BROKEN = {
    "a null id": ({"user_id": ["a", None]}, {}),
    "a null time": ({"timestamp": pa.array([1, None], pa.int64())}, {}),
    "rows from 1": ({"row": [1, 2]}, {}),
    "a row twice": ({"row": [0, 0]}, {}),
    "integer ids": ({"user_id": [1, 2]}, {}),
    "an unknown column": ({"price": [1.0, 2.0]}, {}),
    "an item that is not listed": ({"item_id": ["x", "z"]}, {}),
    "an item twice": ({}, {"item_id": ["x", "x"]}),
    "no title": ({}, {"title": pa.array(["t", None])}),
}


@pytest.mark.parametrize("case", [None, *BROKEN])
def test_the_schema_is_held(case: str | None, tmp_path: Path) -> None:
    log, items = BROKEN[case] if case else ({}, {})
    interactions = {
        "row": [0, 1],
        "user_id": ["a", "b"],
        "item_id": ["x", "y"],
        "timestamp": [5, 4],
    }
    pq.write_table(pa.table(interactions | log), tmp_path / "interactions.parquet")
    catalogue = {"item_id": ["x", "y"], "title": ["t", "u"]}
    pq.write_table(pa.table(catalogue | items), tmp_path / "items.parquet")
    expected = nullcontext() if case is None else pytest.raises(ValueError)
    with session() as con, expected:
        check_tables(con, tmp_path)


def test_the_key_follows_the_content_and_not_the_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    options("files", first)
    shutil.copytree(first, second)
    settings = Ingest(make_recipe(source="files", path=str(first))).settings()
    assert Ingest(make_recipe(source="files", path=str(second))).settings() == settings
    assert str(tmp_path) not in str(settings)
    (second / "items.csv").write_text("item_id\ny\n")
    assert Ingest(make_recipe(source="files", path=str(second))).settings() != settings
    renamed = make_recipe(source="files", path=str(first), columns={"user": "user_id"})
    assert Ingest(renamed).settings() != settings


def test_movielens_titles_and_genres(tmp_path: Path, prepare: Callable[..., Any]) -> None:
    done = prepare("ingest", source="movielens", **options("movielens", tmp_path))
    assert done.rows("ingest", "interactions")[1] == {
        "row": 1,
        "user_id": "7",
        "item_id": "5",
        "timestamp": 1260759179,
        "rating": 3.0,
    }
    assert done.rows("ingest", "items") == [
        {"item_id": "31", "title": "Net, The (1995)", "categories": "Action, Drama"},
        {"item_id": "5", "title": "Heat", "categories": None},
    ]


def test_movielens_without_a_table(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    with pytest.raises(UserError, match=r"expected a file movies\.\*.*found ratings\.csv"):
        movielens.Movielens(path=tmp_path).input_files()
    (tmp_path / "movies.csv").write_text(MOVIES)
    (tmp_path / "ratings.csv").write_text(RATINGS.replace("rating,", "stars,"))
    with pytest.raises(UserError, match="expected a column 'rating'"):
        run_source(movielens.Movielens(path=tmp_path), tmp_path)


@pytest.fixture
def grouplens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for GroupLens's server and an empty cache; yields the served folder."""
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "ml-latest-small.zip", "w") as archive:
        archive.writestr("ml-latest-small/ratings.csv", RATINGS)
        archive.writestr("ml-latest-small/movies.csv", MOVIES)
    digest = hashlib.md5((served / "ml-latest-small.zip").read_bytes()).hexdigest()
    (served / "ml-latest-small.zip.md5").write_text(f"{digest}  ml-latest-small.zip\n")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(movielens, "URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(movielens, "CACHE", tmp_path / "cache")
    yield served
    server.shutdown()
    server.server_close()


def test_movielens_is_downloaded_once(grouplens: Path, tmp_path: Path) -> None:
    source = movielens.Movielens()
    assert run_source(source, tmp_path)["interactions"] == 3
    (grouplens / "ml-latest-small.zip").unlink()
    assert run_source(source, tmp_path)["interactions"] == 3


def test_a_download_with_another_checksum_is_refused(grouplens: Path, tmp_path: Path) -> None:
    (grouplens / "ml-latest-small.zip.md5").write_text("0" * 32)
    with pytest.raises(UserError, match=r"expected the md5 '0+', found [0-9a-f]{32}"):
        run_source(movielens.Movielens(), tmp_path)
    assert not (tmp_path / "cache").exists()


def test_without_a_network_movielens_asks_for_a_path(grouplens: Path, tmp_path: Path) -> None:
    (grouplens / "ml-latest-small.zip.md5").unlink()
    with pytest.raises(UserError, match=r"cannot be downloaded .*give data\.path"):
        run_source(movielens.Movielens(), tmp_path)


def test_a_damaged_download_is_named(grouplens: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "ml-latest-small.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="is damaged"):
        run_source(movielens.Movielens(), tmp_path)
