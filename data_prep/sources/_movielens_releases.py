"""The files of the MovieLens releases, of which there are three kinds."""

from dataclasses import dataclass
from pathlib import Path

from recllm.data_prep.sources._reading import (
    column_names,
    existing,
    load,
    missing_column,
    require_table,
)
from recllm.data_prep.sources._text_files import Layout
from recllm.data_prep.tables import Column, Connection, Table
from recllm.errors import UserError

RATING_COLUMNS = {
    "user_id": "userId",
    "item_id": "movieId",
    "time": "timestamp",
    "rating": "rating",
}
MOVIE_COLUMNS = {"item_id": "movieId", "title": "title", "categories": "genres"}
DAT_RATINGS = ("userId", "movieId", "rating", "timestamp")
DAT_MOVIES = ("movieId", "title", "genres")
NO_GENRES = "(no genres listed)"
#: The flags at the end of a line of u.item, after the genre `unknown`.
GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller",
    "War", "Western",
)  # fmt: skip
U_ITEM = ("movieId", "title", "released", "released on video", "url", "unknown", *GENRES)

#: A loaded table and the file's own names of its columns.
Loaded = tuple[Table, dict[str, str]]


@dataclass(frozen=True)
class Release:
    """The two files of a release in CSV."""

    ratings: Path
    movies: Path

    def load_ratings(self, con: Connection) -> Loaded:
        """The columns that `read_interactions` takes."""
        return self._load_csv(con, self.ratings, RATING_COLUMNS)

    def load_movies(self, con: Connection) -> Loaded:
        """The columns that `read_items` takes."""
        movies, chosen = self._load_csv(con, self.movies, MOVIE_COLUMNS)
        return movies.mutate(categories=_told(movies.categories)), chosen

    def _load_csv(self, con: Connection, path: Path, columns: dict[str, str]) -> Loaded:
        found = column_names(con, path)
        for wanted in columns.values():
            if wanted not in found:
                raise missing_column(path, wanted, wanted, found)
        return load(con, path, columns), columns


class DatRelease(Release):
    """ml-1m (titles in Latin-1) and ml-10m (in UTF-8): columns with `::` between."""

    def load_ratings(self, con: Connection) -> Loaded:
        """See `Release`."""
        layout = Layout(DAT_RATINGS, "::")
        return load(con, self.ratings, RATING_COLUMNS, layout), RATING_COLUMNS

    def load_movies(self, con: Connection) -> Loaded:
        """See `Release`."""
        layout = Layout(DAT_MOVIES, "::", _encoding(self.movies))
        movies = load(con, self.movies, MOVIE_COLUMNS, layout)
        return movies.mutate(categories=_told(movies.categories)), MOVIE_COLUMNS


class TabRelease(Release):
    """ml-100k: u.data with tabs, and u.item, in Latin-1, with a flag for each genre."""

    def load_ratings(self, con: Connection) -> Loaded:
        """See `Release`."""
        layout = Layout(DAT_RATINGS, "\t")
        return load(con, self.ratings, RATING_COLUMNS, layout), RATING_COLUMNS

    def load_movies(self, con: Connection) -> Loaded:
        """See `Release`."""
        import ibis

        flags = {name: name for name in GENRES}
        columns = {"item_id": "movieId", "title": "title"}
        layout = Layout(U_ITEM, "|", _encoding(self.movies))
        movies = load(con, self.movies, columns | flags, layout)
        told: Column = ibis.literal("")
        for name in GENRES:
            told = told + ibis.ifelse(movies[name] == "1", f", {name}", "")
        movies = movies.mutate(categories=told.substr(2).nullif("")).drop(*GENRES)
        return movies, columns | {"categories": "genres"}


def find_release(folder: Path) -> Release:
    """The release whose files lie in a folder.

    Raises:
        UserError: they are those of none.
    """
    if not existing(folder).is_dir():
        raise UserError(
            f"{folder}: expected a folder with ratings.csv and movies.csv, ratings.dat and "
            "movies.dat, or u.data and u.item"
        )
    for kind, ratings, movies in (
        (TabRelease, folder / "u.data", folder / "u.item"),
        (DatRelease, folder / "ratings.dat", folder / "movies.dat"),
    ):
        if ratings.is_file():
            _require(ratings, movies)
            return kind(ratings, movies)
    return Release(require_table(folder, "ratings"), require_table(folder, "movies"))


def _require(*paths: Path) -> None:
    for path in paths:
        if existing(path).stat().st_size == 0:
            raise UserError(f"{path}: the file is empty")


def _encoding(path: Path) -> str:
    """UTF-8 where the (small) file is that, else Latin-1, as GroupLens wrote the older ones."""
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _told(genres: Column) -> Column:
    return genres.nullif(NO_GENRES).replace("|", ", ")
