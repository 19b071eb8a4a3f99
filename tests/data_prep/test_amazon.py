"""The source `amazon`: three releases, their texts, and what stands twice."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.config.schema import DataSection
from recllm.data_prep.sources._html_texts import clean_batches
from recllm.data_prep.sources.amazon import Amazon
from recllm.errors import UserError

from .conftest import run_source

META_2014 = """\
{'asin': 'B1', 'title': "Men's Shirt", 'description': u'caf\\xe9 &amp; more', 'price': 1.5, \
'brand': 'X', 'categories': [['Clothing', 'Men'], ['Gifts']], 'salesRank': {'Toys': 5}}
{'asin': 'B2', 'categories': [['Clothing, Shoes', 'Women']], 'title': None, 'imUrl': 'http://x'}
{"asin": "B3", "title": "In JSON", "categories": [["Toys"]]}
"""
REVIEWS_2014 = [
    {"reviewerID": "u1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000, "helpful": [0, 0]},
    {"reviewerID": "u2", "asin": "B2", "overall": 1.0, "unixReviewTime": 2000},
]
REVIEWS_2018 = [
    {"reviewerID": "u1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000, "style": {"C": "r"}},
    {"reviewerID": "u1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000},
    {"reviewerID": "u1", "asin": "B1", "overall": 2.0, "unixReviewTime": 1000},
    {"reviewerID": "u1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1001},
    {"reviewerID": "u2", "asin": "B2", "overall": 4.0, "unixReviewTime": 5},
]
SCRIPT = 'var aPageStart = (new Date()).getTime();\n<style type="text/css">.nav{margin:0}</style>'
META_2018 = [
    {
        "asin": "B1",
        "title": " Tom &amp; Jerry&#39;s  <b>Best</b>",
        "description": ["<p>One</p>", "Two<br>lines", ""],
        "category": ["Movies", "Comedy &amp; Fun", "</span></span>"],
        "brand": "\n  Disney ",
    },
    {"asin": "B2", "title": SCRIPT, "description": [], "category": []},
    {"asin": "B1", "title": "The same again"},
]
REVIEWS_2023 = [
    {"user_id": "u1", "asin": "V1", "parent_asin": "P1", "rating": 5.0, "timestamp": 1588687728923},
    {"user_id": "u2", "asin": "V2", "parent_asin": "P1", "rating": 3.0, "timestamp": 1588687728000},
]
META_2023 = [
    {
        "parent_asin": "P1",
        "title": "JavaScript: The Good Parts",
        "description": ["One.", "Two."],
        "categories": ["Books", "Computers"],
        "store": "O'Reilly",
        "main_category": "Books",
    }
]


def lines(records: list[dict]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def ingest(
    folder: Path, files: dict[str, str], engine: DataSection | None = None, **options: Any
) -> tuple[list, dict, dict]:
    """Writes the files and reads them: interactions, items by id, counts."""
    for name, text in files.items():
        content = text.encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    counts = run_source(Amazon(**(options or {"path": folder})), out, engine)
    log = pq.read_table(out / "interactions.parquet").to_pylist()
    items = pq.read_table(out / "items.parquet").to_pylist()
    return log, {item["item_id"]: item for item in items}, counts


def test_the_release_of_2014(engine: DataSection, tmp_path: Path) -> None:
    files = {
        "reviews_Toys_5.json.gz": lines(REVIEWS_2014),
        "meta_Toys.json.gz": META_2014,
    }
    log, items, counts = ingest(tmp_path, files, engine)
    assert log == [
        {"row": 0, "user_id": "u1", "item_id": "B1", "timestamp": 1000, "rating": 5.0},
        {"row": 1, "user_id": "u2", "item_id": "B2", "timestamp": 2000, "rating": 1.0},
    ]
    assert items["B1"] == {
        "item_id": "B1",
        "title": "Men's Shirt",
        "description": "café & more",
        "categories": "Clothing > Men; Gifts",
        "brand": "X",
    }
    assert items["B2"]["title"] == "B2"
    assert items["B2"]["categories"] == "Clothing, Shoes > Women"
    assert items["B3"]["title"] == "In JSON"
    assert (counts["items_titled_by_id"], counts["texts_with_entities"]) == (1, 1)


def test_reviews_that_are_literals(engine: DataSection, tmp_path: Path) -> None:
    text = "".join(repr(review) + "\n" for review in REVIEWS_2014)
    log, _, _ = ingest(tmp_path, {"reviews_Toys.json.gz": text}, engine)
    assert [(r["user_id"], r["timestamp"]) for r in log] == [("u1", 1000), ("u2", 2000)]


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').system('touch pwned')",
        "{'asin': __import__('os').getcwd()}",
        "{'asin': 'B9'",
        "{'asin': " + "(" * 5000 + ")" * 5000 + "}",
        "['asin', 'B9']",
        "{'asin': '" + "x" * 2**21 + "'}",
    ],
    ids=["a call", "a call inside", "half", "nested", "a list", "too long"],
)
def test_a_literal_is_never_run(line: str, tmp_path: Path) -> None:
    files = {"reviews_T.json": lines(REVIEWS_2014), "meta_T.json": META_2014 + line + "\n"}
    options: dict[str, Any] = {"reviews": tmp_path / "reviews_T.json"}
    options["meta"] = tmp_path / "meta_T.json"
    with pytest.raises(UserError, match=r"meta_T\.json: .* in 1 row, first in line 4"):
        ingest(tmp_path, files, **options)
    _, items, _ = ingest(tmp_path, files, **options, max_reject_rate=0.3)
    assert set(items) == {"B1", "B2", "B3"}
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert [(r["line"], r["content"]) for r in rejects] == [(4, line[:1000])]
    assert not list(Path.cwd().glob("pwned"))


def test_the_release_of_2018(engine: DataSection, tmp_path: Path) -> None:
    files = {"Toys_5.json.gz": lines(REVIEWS_2018), "meta_Toys.json.gz": lines(META_2018)}
    log, items, counts = ingest(tmp_path, files, engine)
    assert [(r["row"], r["item_id"], r["timestamp"], r["rating"]) for r in log] == [
        (0, "B1", 1000, 5.0),
        (1, "B1", 1001, 5.0),
        (2, "B2", 5, 4.0),
    ]
    assert items["B1"] == {
        "item_id": "B1",
        "title": "Tom & Jerry's Best",
        "description": "One Two lines",
        "categories": "Movies > Comedy & Fun",
        "brand": "Disney",
    }
    assert items["B2"]["title"] == "B2"
    assert items["B2"]["description"] is None
    expected = {
        "duplicate_reviews": 2,
        "duplicates_rated_otherwise": 1,
        "list_descriptions": 1,
        "items_repeated": 1,
        "titles_broken": 1,
        "items_titled_by_id": 1,
        "texts_with_entities": 2,
        "texts_with_tags": 3,
        "interactions": 3,
        "items": 2,
    }
    assert expected.items() <= counts.items()


def test_the_release_of_2023(engine: DataSection, tmp_path: Path) -> None:
    files = {"Books.jsonl.gz": lines(REVIEWS_2023), "meta_Books.jsonl.gz": lines(META_2023)}
    log, items, counts = ingest(tmp_path, files, engine)
    assert [(r["user_id"], r["item_id"], r["timestamp"]) for r in log] == [
        ("u1", "P1", 1588687728),
        ("u2", "P1", 1588687728),
    ]
    assert items["P1"] == {
        "item_id": "P1",
        "title": "JavaScript: The Good Parts",
        "description": "One. Two.",
        "categories": "Books > Computers",
        "brand": "O'Reilly",
    }
    assert (counts["titles_broken"], counts["fractional_times"]) == (0, 0)


def test_reviews_alone_and_what_is_missing(tmp_path: Path) -> None:
    _, items, _ = ingest(tmp_path, {"Toys_5.json": lines(REVIEWS_2018)})
    assert items["B1"] == {"item_id": "B1", "title": "B1"}
    with pytest.raises(UserError, match=r"expected one file .*, found Toys_5\.json, a\.json"):
        ingest(tmp_path, {"a.json": lines(REVIEWS_2018)})
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"expected reviews, .* found nothing"):
        Amazon(path=empty).input_files()
    with pytest.raises(UserError, match="expected a folder"):
        Amazon(path=tmp_path / "a.json").input_files()
    with pytest.raises(ValueError, match="give 'path'"):
        Amazon()
    (tmp_path / "b.json").write_text('{"asin": "B1", "overall": 1}\n')
    with pytest.raises(UserError, match="expected a column 'user_id'"):
        ingest(tmp_path, {}, reviews=tmp_path / "b.json")


def test_a_truncated_literal_file_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress("".join(META_2014 + str(n) + "\n" for n in range(3000)).encode())
    (tmp_path / "meta_T.json.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=r"meta_T\.json\.gz: the file cannot be read"):
        ingest(tmp_path, {"reviews_T.json": lines(REVIEWS_2014)})


#: A title of a page, and what is left of it.
TITLES = {
    "Plain": "Plain",
    "5 &lt; 6 &amp;amp; 7": "5 < 6 & 7",
    "a < b > c": "a < b > c",
    "AT&T": "AT&T",
    "&lt;i&gt;Moby&lt;/i&gt; Dick": "Moby Dick",
    "one<br/>two\n three&nbsp;four": "one two three four",
    "<!-- note -->shown": "shown",
    "<b></b>": None,
    "  ": None,
    '<span id="x">Hat</span>': None,
    "var aPageStart = 1": None,
    "JavaScript: The Good Parts": "JavaScript: The Good Parts",
    "Function (Mathematics)": None,
}


@pytest.mark.parametrize("title", TITLES)
def test_titles(title: str) -> None:
    batch = pa.record_batch({"title": pa.array([title, None]), "item_id": ["&amp;", "x"]})
    (cleaned,) = clean_batches([batch], ["title"], Counter())
    assert cleaned.to_pydict() == {"title": [TITLES[title], None], "item_id": ["&amp;", "x"]}


def test_gift_cards(real_data: Path, tmp_path: Path) -> None:
    """2,972 reviews, 458 users, 148 items; what stands twice, entities, tags and lists."""
    counts = run_source(Amazon(path=real_data / "amazon18-gift-cards"), tmp_path)
    log = pq.read_table(tmp_path / "interactions.parquet").to_pylist()
    assert counts["interactions"] + counts["duplicate_reviews"] == 2972
    assert counts["interactions"] == len(log) == 2969
    assert (len({r["user_id"] for r in log}), len({r["item_id"] for r in log})) == (458, 148)
    assert len({(r["user_id"], r["item_id"], r["timestamp"]) for r in log}) == len(log)
    items = {r["item_id"]: r for r in pq.read_table(tmp_path / "items.parquet").to_pylist()}
    assert len(items) == 1547
    expected = {
        "duplicates_rated_otherwise": 0,
        "list_descriptions": 805,
        "items_repeated": 0,
        "items_missing_from_items_file": 0,
        "titles_broken": 0,
        "texts_with_tags": 92,  # 87 descriptions, 5 categories
        "texts_with_entities": 196,  # 178 titles, 18 descriptions
    }
    assert expected.items() <= counts.items()
    assert items["B002VFYGC0"]["title"] == "Maggiano's Gift Card"
    texts = [text for item in items.values() for text in item.values() if text]
    assert not any("&#" in text or "&amp;" in text or "</" in text for text in texts)
