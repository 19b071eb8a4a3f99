"""MovieLens (Harper and Konstan, 2015): a folder with its files, or the small one, downloaded."""

import hashlib
import logging
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from recllm.artifacts.atomic import replacing
from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import item_columns, read_interactions, read_items, write_log
from recllm.data_prep.sources._reading import column_names, existing, missing_column, require_table
from recllm.data_prep.tables import Connection
from recllm.errors import UserError

log = logging.getLogger(__name__)

URL = "https://files.grouplens.org/datasets/movielens"
NAME = "ml-latest-small"
CACHE = Path("~/.cache/recllm")
TIMEOUT_SECONDS = 30
RATINGS = {"user_id": "userId", "item_id": "movieId", "time": "timestamp", "rating": "rating"}
NO_GENRES = "(no genres listed)"


class Movielens(Source):
    """Ratings with times, titles and genres. Not for commercial use: see GroupLens's terms.

    Without a path, ml-latest-small is downloaded once to ~/.cache/recllm and checked against the
    md5 that GroupLens publishes beside it.
    """

    path: Path | None = Field(default=None, description="a folder with ratings.csv and movies.csv")

    def input_files(self) -> list[Path]:
        """The two files; none for the download, whose checksum is checked instead."""
        return [] if self.path is None else _tables(self.path)

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read ratings and movies; a movie's genres, `A, B`, are its categories."""
        with _folder(self.path) as folder:
            ratings, movies = _tables(folder)
            found = column_names(con, ratings)
            for wanted in RATINGS.values():
                if wanted not in found:
                    raise missing_column(ratings, wanted, wanted, found)
            interactions, counts = read_interactions(con, ratings, RATINGS)
            asked = {"item_id": "movieId", "title": "title", "categories": "genres"}
            items = read_items(con, movies, item_columns(con, movies, asked, ("movieId",)))
            genres = items.categories.nullif(NO_GENRES).replace("|", ", ")
            return counts | write_log(con, interactions, items.mutate(categories=genres), out)


def download(cache: Path | None = None) -> Path:
    """The zip of ml-latest-small in `cache` (by default ~/.cache/recllm), fetched where it is not.

    Raises:
        UserError: there is no network, or what came is not what GroupLens's md5 says.
    """
    target = (cache or CACHE.expanduser()) / f"{NAME}.zip"
    if target.is_file():
        return target
    url = f"{URL}/{NAME}.zip"
    log.info("downloading %s to %s", url, target)
    try:
        expected = _fetch(f"{url}.md5").decode("ascii", "replace")
        content = _fetch(url)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"{url} cannot be downloaded ({error}); "
            "give data.path, a folder with ratings.csv and movies.csv"
        ) from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found not in expected.lower():
        raise UserError(
            f"{url}: expected the md5 {expected.strip()!r}, found {found}; "
            "try again, or give data.path"
        )
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    return target


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        return response.read()


def _tables(folder: Path) -> list[Path]:
    if not existing(folder).is_dir():
        raise UserError(f"{folder}: expected a folder with ratings.csv and movies.csv")
    return [require_table(folder, "ratings"), require_table(folder, "movies")]


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """The user's folder, or the download's content in a temporary one."""
    if path is not None:
        yield path
        return
    archive = download()
    with tempfile.TemporaryDirectory(prefix="recllm-movielens-") as folder:
        try:
            with zipfile.ZipFile(archive) as opened:
                for name in ("ratings.csv", "movies.csv"):
                    (Path(folder) / name).write_bytes(opened.read(f"{NAME}/{name}"))
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(f"{archive} is damaged ({error}); remove it and try again") from None
        yield Path(folder)
