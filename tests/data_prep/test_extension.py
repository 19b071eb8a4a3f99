"""What holds for every indexing scheme when items come later."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from catalogues import item_table, make_input, no_vectors, random_sequences
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex, SidIndex, TitleIndex
from recllm.config.plugins import QUANTIZERS
from recllm.data_prep.quantizers import ExtensionInput, Indexer, Indexing, Quantizer
from recllm.data_prep.quantizers.random import Random
from recllm.data_prep.quantizers.sequential import Sequential
from recllm.data_prep.quantizers.title import Title, tell_apart
from recllm.errors import UserError

OLD, NEW = 120, 5
VECTORS = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
#: Options that keep training short.
SHORT = {
    "rq-vae": {"hidden": [16], "latent": 4, "epochs": 3, "iterations": 5},
    "rq-kmeans-plus": {"hidden": [16], "epochs": 3, "learning_rate": 1e-2},
}
NAMES = QUANTIZERS.names()
#: These go by what only a whole catalogue or its interactions tell.
CANNOT = {"collaborative", "hybrid", "import", "semantic"}


def make(name: str) -> Indexer:
    return QUANTIZERS.load(name)(**SHORT.get(name, {}))


def old_index(scheme: Indexer, items: int = OLD, **changes: int) -> Indexing:
    read = (lambda: VECTORS[:items]) if scheme.uses_vectors else no_vectors
    table = item_table(200).slice(0, items)
    sequences = random_sequences(items, 100, 9, seed=0)
    return scheme.index(make_input(table, sequences, read_vectors=read, **changes))


def later(found: Indexing, index: ItemIndex, items: int) -> ExtensionInput:
    """The next items of the table."""
    first = len(index)
    return ExtensionInput(
        index=index,
        items=Items(item_table(200).slice(first, items)),
        seed=0,
        codebooks=found.codebooks,
        state=found.state,
        read_vectors=lambda: VECTORS[first : first + items],
    )


def check(scheme: Indexer, found: Indexing, index: ItemIndex, items: int) -> ItemIndex:
    """Extend an index, and hold the result to what every scheme promises."""
    given = later(found, index, items)
    before = index.texts()
    extension = scheme.extend(given)
    grown = extension.index
    assert type(grown) is type(index)
    assert grown.begins_with(index) and grown.texts()[: len(index)] == before
    assert grown.item_ids == [f"id{i}" for i in range(len(index) + items)]
    assert len(set(grown.texts())) == len(index) + items
    assert grown.tokens() == index.tokens()
    assert 0 <= extension.moved <= items
    assert all(type(count) is int for count in extension.counts.values())
    if isinstance(grown, SidIndex) and isinstance(index, SidIndex):
        assert grown.codes_per_level == index.codes_per_level
        assert grown.codes.dtype == np.int32 and grown.codes.min() >= 0
        assert (grown.codes < grown.sizes).all()
    again = scheme.extend(later(found, index, items)).index
    assert again.texts() == grown.texts()
    return grown


@pytest.mark.parametrize("name", NAMES)
def test_old_paths_stay_and_all_differ_or_it_is_refused(name: str) -> None:
    scheme = make(name)
    found = old_index(scheme)
    if name in CANNOT:
        with pytest.raises(UserError, match=f"the indexing scheme {name} cannot place items"):
            scheme.extend(later(found, found.index, NEW))
        return
    once = check(scheme, found, found.index, NEW - 2)
    check(scheme, found, once, 2)


QUANTIZING = [name for name in NAMES if issubclass(QUANTIZERS.load(name), Quantizer)]


@pytest.mark.parametrize("name", QUANTIZING)
def test_a_tree_can_be_filled_and_no_more(name: str) -> None:
    scheme = make(name)
    found = old_index(scheme, items=40, levels=2, codes=8)
    full = check(scheme, found, found.index, 24)
    assert len(full) == 64
    with pytest.raises(UserError, match=r"at most 64 items.*\(8 × 8\), found 65: 40 that have"):
        scheme.extend(later(found, found.index, 25))


@pytest.mark.parametrize("name", QUANTIZING)
def test_what_is_kept_gives_old_vectors_their_codes(name: str) -> None:
    """As if the old items came later, one at a time, with nothing else in the tree."""
    from recllm.data_prep.quantizers import _kmeans
    from recllm.models.devices import resolve_device

    scheme = make(name)
    assert isinstance(scheme, Quantizer)
    found = old_index(scheme)
    assert found.codebooks is not None and found.proposed is not None
    assert bool(found.state) == (name in SHORT)
    latent = scheme.represent(VECTORS[:OLD], found.state)
    books = _kmeans.unstacked(found.codebooks, resolve_device())
    same = (_kmeans.encode(latent, books) == found.proposed).all(axis=1)
    if name == "rq-kmeans-balanced":  # whose codes were full for some items
        assert same.mean() > 0.3
    else:
        assert same.mean() > 0.99
    alone = SidIndex(["other"], np.full((1, 3), 7, np.int32), 8)
    placed = 0
    for item in range(10):
        given = replace(
            later(found, alone, 1),
            items=Items(item_table(200).slice(item, 1)),
            read_vectors=lambda item=item: VECTORS[item : item + 1],
        )
        grown = scheme.extend(given).index
        assert isinstance(grown, SidIndex)
        placed += bool(same[item] and (grown.codes[1] == found.proposed[item]).all())
    assert placed >= min(9, same[:10].sum())


@pytest.mark.parametrize("name", SHORT)
def test_other_vectors_go_through_the_trained_encoder(name: str) -> None:
    scheme = make(name)
    assert isinstance(scheme, Quantizer)
    found = scheme.quantize(VECTORS[:OLD], 2, 8, seed=0)
    assert found.vectors is not None
    np.testing.assert_allclose(
        scheme.represent(VECTORS[:OLD], found.state), found.vectors, atol=1e-5
    )
    untrained = {n: np.zeros_like(a) if n != "scale" else a for n, a in found.state.items()}
    other = scheme.represent(VECTORS[:OLD], untrained)
    assert not np.allclose(other, found.vectors, atol=1e-2)


def test_codes_that_stand_for_nothing_are_not_proposed() -> None:
    """Where vectors are few, a codebook ends in zeros; a vector near zero must not get those."""
    scheme = make("rq-kmeans")
    found = old_index(scheme, items=5, codes=64)
    assert found.codebooks is not None and not found.codebooks[0, 5:].any()
    given = replace(later(found, found.index, 1), read_vectors=lambda: VECTORS[:1] * 1e-3)
    grown = scheme.extend(given).index
    assert isinstance(grown, SidIndex)
    assert grown.codes[5, 0] < 5


@given(st.integers(1, 300), st.integers(1, 4), st.data())
@settings(max_examples=60)
def test_later_items_get_the_next_numbers(items: int, levels: int, data: st.DataObject) -> None:
    scheme = data.draw(st.sampled_from([Random(), Sequential()]))
    index = scheme.index(make_input(items, levels=levels, codes=512)).index
    assert isinstance(index, SidIndex)
    room = int(np.prod(index.sizes)) - items
    more = data.draw(st.integers(1, room + 1))
    table = pa.table({"item_id": [f"new{i}" for i in range(more)]})
    given = ExtensionInput(index, Items(table), 0, None, {}, no_vectors)
    if more > room:
        with pytest.raises(UserError, match=f"at most {room + items} items"):
            scheme.extend(given)
        return
    grown = scheme.extend(given).index
    assert isinstance(grown, SidIndex) and grown.sizes == index.sizes
    base = index.sizes[-1]
    numbers = [
        sum(c * base**p for p, c in enumerate(reversed(row))) for row in grown.codes.tolist()
    ]
    assert sorted(numbers) == list(range(items + more))
    if isinstance(scheme, Sequential):
        assert numbers[items:] == list(range(items, items + more))


TITLES = st.lists(st.sampled_from(["a", "b", "a (2)", "a (2) (2)", "c"]), max_size=12)


@given(TITLES, TITLES.filter(bool))
def test_titles_are_told_apart_from_those_before(before: list[str], new: list[str]) -> None:
    known = tell_apart(before)
    found = tell_apart(new, known)
    assert len({*known, *found}) == len(known) + len(found)
    for title, name in zip(new, found, strict=True):
        assert name.startswith(title)
        assert (name == title) or title in {*known, *new}
        assert name != title or title not in known
    assert tell_apart(new, ()) == tell_apart(new)


def test_an_item_with_an_old_title_gets_a_number() -> None:
    index = TitleIndex(["x", "y"], ["The Sea", "The Sea (2)"])
    items = Items(pa.table({"item_id": ["z", "w"], "title": ["The  Sea", "The Sky"]}))
    found = Title().extend(ExtensionInput(index, items, 0, None, {}, no_vectors))
    assert found.index.texts() == ["The Sea", "The Sea (2)", "The Sea (3)", "The Sky"]
    assert found.moved == 1
