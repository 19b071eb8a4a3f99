"""Items by their titles."""

import unicodedata

import pyarrow as pa
import pytest
from catalogues import make_input
from hypothesis import given
from hypothesis import strategies as st

from recllm.data_prep.quantizers import Indexing
from recllm.data_prep.quantizers.title import Title, tell_apart
from recllm.errors import UserError


def index_of(titles: list[str]) -> Indexing:
    table = pa.table({"item_id": [f"id{i}" for i in range(len(titles))], "title": titles})
    return Title().index(make_input(table))


def test_titles_that_are_alike_get_numbers() -> None:
    titles = ["Heat", "Emma", "Heat (2)", "Heat", " Heat\n", "Emma"]
    assert index_of(titles).index.texts() == [
        "Heat", "Emma", "Heat (2)", "Heat (3)", "Heat (4)", "Emma (2)",
    ]  # fmt: skip


SHORT = st.text(st.sampled_from("ab (2)"), min_size=1, max_size=6).filter(str.strip)


@given(st.lists(SHORT, min_size=1, max_size=30))
def test_titles_become_unique_and_the_first_of_each_stays(titles: list[str]) -> None:
    found = tell_apart(titles)
    assert len(set(found)) == len(titles)
    for place, (title, name) in enumerate(zip(titles, found, strict=True)):
        if title not in titles[:place]:
            assert name == title
        else:
            assert name.startswith(f"{title} (") and name not in titles
    assert tell_apart(found) == found


def test_what_a_tokenizer_takes_for_one_is_one() -> None:
    found = index_of(["Café", unicodedata.normalize("NFD", "Café"), "Caf\u00e9  "])
    assert found.index.texts() == ["Café", "Café (2)", "Café (3)"]
    assert found.moved == 2
    assert found.proposed is not None and len(set(found.proposed[:, 0].tolist())) == 1


def test_titles_that_are_ids_are_counted() -> None:
    assert index_of(["Heat", "id1", "id1"]).counts == {"items_titled_by_id": 1}


def test_items_without_a_title_are_refused() -> None:
    with pytest.raises(UserError, match="2 of 3 have none, such as 'id1'; give them titles"):
        index_of(["Heat", " ", ""])
    with pytest.raises(UserError, match="needs a title of every item"):
        index_of([])
