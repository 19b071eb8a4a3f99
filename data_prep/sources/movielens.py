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
from recllm.data_prep.sources._log import read_interactions, read_items, write_log
from recllm.data_prep.sources._movielens_releases import find_release
from recllm.data_prep.sources._rejects import Rejects
from recllm.data_prep.tables import Connection
from recllm.errors import UserError

log = logging.getLogger(__name__)

URL = "https://files.grouplens.org/datasets/movielens"
NAME = "ml-latest-small"
CACHE = Path("~/.cache/recllm")
TIMEOUT_SECONDS = 30


class Movielens(Source):
    """Ratings with times, titles and genres. Not for commercial use: see GroupLens's terms.

    All releases: ml-100k (u.data, u.item), ml-1m and ml-10m (ratings.dat, movies.dat), and those
    in CSV (ml-20m, ml-25m, ml-32m, ml-latest, ml-latest-small). Without a path, ml-latest-small
    is downloaded once to ~/.cache/recllm and checked against the md5 that GroupLens publishes
    beside it.
    """

    path: Path | None = Field(default=None, description="a folder with the files of one release")

    def input_files(self) -> list[Path]:
        """The two files; none for the download, whose checksum is checked instead."""
        if self.path is None:
            return []
        release = find_release(self.path)
        return [release.ratings, release.movies]

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read ratings and movies; a movie's genres, `A, B`, are its categories."""
        rejects = Rejects(self.max_reject_rate)
        with _folder(self.path) as folder:
            release = find_release(folder)
            loaded, chosen = release.load_ratings(con)
            interactions, counts = read_interactions(con, release.ratings, chosen, rejects, loaded)
            loaded, chosen = release.load_movies(con)
            items = read_items(con, release.movies, chosen, rejects, loaded)
            counts |= write_log(con, interactions, items, out, self.missing_items)
            return counts | rejects.write(con, out)


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
