"""Items by their titles: no new tokens."""

import unicodedata
from collections.abc import Collection

from recllm.catalog.items import Items
from recllm.catalog.sids import TitleIndex
from recllm.data_prep.quantizers import (
    Extension,
    ExtensionInput,
    Indexer,
    Indexing,
    IndexingInput,
)
from recllm.errors import UserError


class Title(Indexer):
    """Title indexing (TID of Hua et al., 2023; the grounding of BIGRec, Bao et al., 2023).

    An item is its title in the tokens that the backbone has, closed by its end-of-sequence
    token. Of items with the same title all but the first in the catalogue get a number behind
    it. `sid.levels` and `sid.codes` do not apply. An item that came without a title goes by its
    id, which stands in the title's place since ingest; these are counted.
    """

    @property
    def variable_depth(self) -> bool:
        """True."""
        return True

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class; counts `items_titled_by_id`."""
        plain = plain_titles(given.items)
        titles = tell_apart(plain)
        by_id = zip(given.items.ids, given.items.titles, strict=True)
        return Indexing(
            TitleIndex(given.items.ids, titles),
            proposed=TitleIndex(given.items.ids, plain).prefixes(),
            moved=sum(a != b for a, b in zip(plain, titles, strict=True)),
            counts={"items_titled_by_id": sum(item_id == title for item_id, title in by_id)},
        )

    def extend(self, given: ExtensionInput) -> Extension:
        """The titles, with a number behind those that an item so far has."""
        assert isinstance(given.index, TitleIndex)
        plain = plain_titles(given.items)
        titles = tell_apart(plain, given.index.titles)
        ids = [*given.index.item_ids, *given.items.ids]
        moved = sum(a != b for a, b in zip(plain, titles, strict=True))
        return Extension(TitleIndex(ids, [*given.index.titles, *titles]), moved)


def plain_titles(items: Items) -> list[str]:
    """The titles in one line, in Unicode's composed form, as tokenizers see them.

    Raises:
        UserError: there are no items, or one has no title.
    """
    titles = [unicodedata.normalize("NFC", " ".join(title.split())) for title in items.titles]
    empty = [item_id for item_id, title in zip(items.ids, titles, strict=True) if not title]
    if empty or not titles:
        raise UserError(
            f"sid.quantizer: title needs a title of every item, but {len(empty)} of {len(titles)} "
            f"have none{f', such as {empty[0]!r}' if empty else ''}; give them titles, or choose "
            "another sid.quantizer"
        )
    return titles


def tell_apart(titles: list[str], given: Collection[str] = ()) -> list[str]:
    """The titles, with a number behind those that an earlier item has; no two are equal.

    Args:
        given: the titles of items before these, no two equal.
    """
    known = set(given)
    taken, numbers = known | set(titles), {title: int(title in known) for title in titles}
    found = []
    for title in titles:
        numbers[title] += 1
        name = title
        while numbers[title] > 1 and name in taken:
            name = f"{title} ({numbers[title]})"
            if name in taken:
                numbers[title] += 1
        taken.add(name)
        found.append(name)
    return found
