"""The simulated catalogue: categories, series, companions, popularity, and readable text."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GENRES = {
    "Books": ("Mystery", "Fantasy", "Romance", "History", "Cooking", "Travel"),
    "Films": ("Thriller", "Comedy", "Western", "Animation", "Documentary", "Horror"),
    "Games": ("Strategy", "Puzzle", "Racing", "Adventure", "Simulation", "Sports"),
    "Music": ("Jazz", "Folk", "Electronic", "Classical", "Soul", "Rock"),
    "Toys": ("Trains", "Building", "Dolls", "Board Games", "Kites", "Puppets"),
    "Garden": ("Seeds", "Tools", "Pots", "Lanterns", "Birdhouses", "Fountains"),
    "Kitchen": ("Knives", "Teapots", "Baking", "Spices", "Coffee", "Glassware"),
}
CATEGORIES = [f"{department} > {genre}" for department, names in GENRES.items() for genre in names]
ADJECTIVES = _words(
    "Silent Golden Broken Hidden Crimson Distant Frozen Gentle Hollow Ivory Lonely Midnight "
    "Northern Painted Quiet Restless Scarlet Silver Sleeping Stolen Summer Twilight Velvet "
    "Wandering Whispering Wild Winter Wooden Ancient Burning Copper Dancing Emerald Fading "
    "Forgotten Glass"
)
NOUNS = _words(
    "Harbor Garden Lantern River Mountain Orchard Bridge Castle Forest Island Kingdom Meadow "
    "Mirror Ocean Palace Raven Road Sparrow Station Stone Storm Tower Valley Village Window "
    "Wolf Anchor Canyon Compass Crown Desert Falcon Fountain Horizon Labyrinth Lighthouse"
)
PLACES = _words(
    "Ashford Belmont Carrow Dunmore Elmsworth Farrow Glenholm Hartwell Ironbridge Jasper "
    "Kestrel Larkspur Marlow Norwick Oakham Pemberton Quarry Ravenna Stanton Thornhill Umber "
    "Verona"
)
MAKERS = _words(
    "Alder Bennett Calloway Draper Ellison Foster Grantham Holloway Ingram Jarvis Keller "
    "Lindqvist Mercer Novak Osborne Prescott Quinn Rosewood Sinclair Thatcher Underhill Vance "
    "Whitlock Yates"
)

#: A prime that divides no list's length: neighbouring series get unlike names, none the same.
NAME_STEP = 10_007
ITEMS_PER_CATEGORY = 40
LONGEST_SERIES = 5
SHARE_WITH_COMPANION = 0.6
#: Zipf exponents: of categories among each other, and of the items within one.
CATEGORY_SKEW = 0.8
ITEM_SKEW = 0.5


@dataclass(frozen=True)
class World:
    """The items by number; those of a category, and in it those of a series, are neighbours."""

    category: NDArray[np.int32]  # of each item
    volume: NDArray[np.int32]  # from 1; 0 for an item of no series
    series: NDArray[np.int32]  # a single item is its own
    sequel: NDArray[np.int32]  # the next volume; -1 where there is none
    companion: NDArray[np.int32]  # what is often bought right after; -1 where there is none
    popularity: NDArray[np.float64]  # within the category; sums to 1 there
    first_item: NDArray[np.int64]  # of each category, and at the end the number of items
    category_share: NDArray[np.float64]  # of users' interests; sums to 1
    number: NDArray[np.int64]  # in the item's id: shuffled, so that ids tell nothing

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.category)

    @property
    def categories(self) -> int:
        """How many categories there are."""
        return len(self.category_share)

    @cached_property
    def popularity_edges(self) -> NDArray[np.float64]:
        """Rising through all items: those of category c take their shares of c to c + 1."""
        total = np.cumsum(self.popularity)
        before = np.concatenate([[0.0], total])[self.first_item[:-1]]
        return np.add(
            self.category, np.minimum(total - before[self.category], 1.0), dtype=np.float64
        )

    @cached_property
    def item_ids(self) -> pa.Array:
        """The id of each item."""
        width = len(str(self.items - 1))
        return pa.array([f"i{number:0{width}d}" for number in self.number])

    def table(self) -> pa.Table:
        """The item table, with text that tells the category and the series."""
        maker = (self.category * 5 + self.series % 3) % len(MAKERS)
        brand = [MAKERS[number] for number in maker]
        categories = [CATEGORIES[c] for c in self.category]
        titles = [_title(int(s), int(v)) for s, v in zip(self.series, self.volume, strict=True)]
        descriptions = [
            _description(genre, name, int(volume))
            for genre, name, volume in zip(categories, brand, self.volume, strict=True)
        ]
        return pa.table(
            {
                "item_id": self.item_ids,
                "title": titles,
                "description": descriptions,
                "categories": categories,
                "brand": brand,
            }
        )


def build_world(items: int, rng: np.random.Generator) -> World:
    """A catalogue of `items` items."""
    categories = int(np.clip(items // ITEMS_PER_CATEGORY, 1, len(CATEGORIES)))
    category = np.arange(items, dtype=np.int64) * categories // items
    first_item = np.searchsorted(category, np.arange(categories + 1))
    starts = _series_starts(category, rng)
    series = np.cumsum(starts) - 1
    length = np.bincount(series)[series]
    place = np.arange(items) - np.flatnonzero(starts)[series]
    volume = np.where(length > 1, place + 1, 0)
    sequel = np.where((length > 1) & (place + 1 < length), np.arange(items) + 1, -1)
    companion = np.where(rng.random(items) < SHARE_WITH_COMPANION, _other_item(items, rng), -1)
    return World(
        category=category.astype(np.int32),
        volume=volume.astype(np.int32),
        series=series.astype(np.int32),
        sequel=sequel.astype(np.int32),
        companion=companion.astype(np.int32),
        popularity=_popularity(category, first_item, rng),
        first_item=first_item,
        category_share=_zipf(rng.permutation(categories) + 1, CATEGORY_SKEW),
        number=rng.permutation(items),
    )


def _series_starts(category: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which items begin a series of 1 to LONGEST_SERIES items, all of one category."""
    lengths = rng.integers(1, LONGEST_SERIES + 1, len(category))
    starts = np.zeros(len(category), dtype=bool)
    ends = np.cumsum(lengths)
    starts[ends[ends < len(category)]] = True
    starts[np.flatnonzero(np.diff(category, prepend=-1))] = True
    return starts


def _other_item(items: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each item a different one, each the partner of one only."""
    order = rng.permutation(items)
    partner = np.empty(items, dtype=np.int64)
    partner[order] = np.roll(order, 1)
    return partner if items > 1 else np.full(1, -1)


def _popularity(
    category: NDArray[np.int64], first_item: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    order = np.lexsort((rng.random(len(category)), category))
    rank = np.empty(len(category), dtype=np.int64)
    rank[order] = np.arange(len(category)) - first_item[category[order]] + 1
    weight = rank**-ITEM_SKEW
    return weight / np.add.reduceat(weight, first_item[:-1])[category]


def _zipf(ranks: NDArray[np.int64], skew: float) -> NDArray[np.float64]:
    weight = ranks**-skew
    return weight / weight.sum()


def _title(series: int, volume: int) -> str:
    names = len(ADJECTIVES) * len(NOUNS) * len(PLACES)
    name, again = series * NAME_STEP % names, series // names
    name, adjective = divmod(name, len(ADJECTIVES))
    place, noun = divmod(name, len(NOUNS))
    title = f"The {ADJECTIVES[adjective]} {NOUNS[noun]} of {PLACES[place]}"
    if again:
        title += f" {again + 1}"
    return f"{title}, Volume {volume}" if volume else title


def _description(category: str, maker: str, volume: int) -> str:
    department, genre = category.split(" > ")
    about = f"{genre} from the {department.lower()} range of {maker}"
    if volume == 1:
        return f"{about}, the first of a series."
    return f"{about}, continued from volume {volume - 1}." if volume else f"{about}."
