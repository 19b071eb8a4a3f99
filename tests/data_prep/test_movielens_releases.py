"""The source `movielens` on the forms of all releases."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recllm.data_prep.sources.movielens import Movielens
from recllm.errors import UserError

from .conftest import run_source

FLAGS = {"Toy Story (1995)": "Animation Children's Comedy", "Misérables, Les (1995)": "Drama"}
GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
]  # fmt: skip
RATINGS = [("1", "7", "5", "978300760"), ("2", "8", "3.5", "978300761"), ("1", "8", "4", "5")]


def u_item(number: int, title: str) -> str:
    flags = "|".join(str(int(genre in FLAGS[title].split())) for genre in GENRES)
    return f"{number}|{title}|01-Jan-1995||http://us.imdb.com/M/title-exact?x|{flags}\n"


def dat_movie(number: int, title: str) -> str:
    return f"{number}::{title}::{FLAGS[title].replace(' ', '|')}\n"


def csv_movie(number: int, title: str) -> str:
    return f'{number},"{title}",{FLAGS[title].replace(" ", "|")}\n'


def write_release(folder: Path, name: str) -> list[Path]:
    """The two files of a release, as GroupLens writes them."""
    numbered = list(enumerate(FLAGS, 7))
    if name == "ml-100k":
        ratings, movies, encoding = folder / "u.data", folder / "u.item", "latin-1"
        log = "".join("\t".join(rating) + "\n" for rating in RATINGS)
        text = "".join(u_item(number, title) for number, title in numbered)
    elif name in ("ml-1m", "ml-10m"):
        ratings, movies = folder / "ratings.dat", folder / "movies.dat"
        encoding = "latin-1" if name == "ml-1m" else "utf-8"
        log = "".join("::".join(rating) + "\n" for rating in RATINGS)
        text = "".join(dat_movie(number, title) for number, title in numbered)
    else:
        ratings, movies, encoding = folder / "ratings.csv", folder / "movies.csv", "utf-8"
        log = "userId,movieId,rating,timestamp\n"
        log += "".join(",".join(rating) + "\n" for rating in RATINGS)
        text = "movieId,title,genres\n" + "".join(csv_movie(n, title) for n, title in numbered)
    ratings.write_text(log)
    movies.write_text(text, encoding=encoding)
    return [ratings, movies]


RELEASES = ["ml-100k", "ml-1m", "ml-10m", "ml-32m"]


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_gives_the_same_tables(name: str, tmp_path: Path) -> None:
    files = write_release(tmp_path, name)
    source = Movielens(path=tmp_path)
    assert source.input_files() == files
    counts = run_source(source, tmp_path)
    log = pq.read_table(tmp_path / "interactions.parquet").to_pylist()
    assert [tuple(r.values()) for r in log] == [
        (row, user, item, int(time), float(rating))
        for row, (user, item, rating, time) in enumerate(RATINGS)
    ]
    assert pq.read_table(tmp_path / "items.parquet").to_pylist() == [
        {
            "item_id": "7",
            "title": "Toy Story (1995)",
            "categories": "Animation, Children's, Comedy",
        },
        {"item_id": "8", "title": "Misérables, Les (1995)", "categories": "Drama"},
    ]
    assert (counts["interactions"], counts["items"], counts["items_titled_by_id"]) == (3, 2, 0)


@pytest.mark.parametrize("name", RELEASES)
def test_a_short_line_is_named_and_set_aside(name: str, tmp_path: Path) -> None:
    ratings, _ = write_release(tmp_path, name)
    lines = ratings.read_text().splitlines()
    ratings.write_text("\n".join([*lines[:-1], "1", lines[-1]]) + "\n")
    line = len(lines)
    with pytest.raises(UserError, match=f"wrong number of columns in 1 row, first in line {line}:"):
        run_source(Movielens(path=tmp_path), tmp_path)
    counts = run_source(Movielens(path=tmp_path, max_reject_rate=0.25), tmp_path)
    assert (counts["interactions"], counts["rejected_wrong_number_of_columns"]) == (3, 1)
    rejects = pq.read_table(tmp_path / "rejects.parquet").to_pylist()
    assert [(r["file"], r["line"], r["content"]) for r in rejects] == [(ratings.name, line, "1")]


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m"])
def test_half_a_release(name: str, tmp_path: Path) -> None:
    ratings, movies = write_release(tmp_path, name)
    movies.unlink()
    with pytest.raises(UserError, match=f"{movies.name}: no such file"):
        Movielens(path=tmp_path).input_files()
    movies.write_text("")
    with pytest.raises(UserError, match=f"{movies.name}: the file is empty"):
        Movielens(path=tmp_path).input_files()
    assert ratings.exists()


def test_movielens_small(real_data: Path, tmp_path: Path) -> None:
    counts = run_source(Movielens(path=real_data / "movielens-latest-small"), tmp_path)
    log = pq.read_table(tmp_path / "interactions.parquet")
    assert counts["interactions"] == log.num_rows == 100_004
    assert len(set(log["user_id"].to_pylist())) == 671
    assert len(set(log["item_id"].to_pylist())) == 9_066
