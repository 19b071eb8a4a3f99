"""Text to values, the same on both engines."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.config.schema import DataSection
from recllm.data_prep import values
from recllm.data_prep.tables import Column, read, scalars, session, write

FLOATS = {
    "12": 12.0,
    " -1.5e3\t": -1500.0,
    ".5": 0.5,
    "5.": 5.0,
    "+7": 7.0,
    "0.1": 0.1,
    "1e999": math.inf,
    "-inf": -math.inf,
    "Infinity": math.inf,
    "NaN": None,
    "1d": None,
    "1f": None,
    "0x1p3": None,
    "1_000": None,
    "1,5": None,
    "": None,
    "e5": None,
    "1\n2": None,
}
INTS = {
    "12": 12,
    " +5 ": 5,
    "-0": 0,
    "9223372036854775807": 2**63 - 1,
    "9223372036854775808": None,
    "1.0": None,
    "1e3": None,
    "": None,
}
TIMES = {
    "1970-01-02": 86400.0,
    "1970-1-2": 86400.0,
    "1970-01-01T00:01": 60.0,
    "1970-01-01 00:01:00Z": 60.0,
    "1970-01-01T01:01:00+01:00": 60.0,
    "1970-01-01T01:01:00+0100": 60.0,
    "1970-01-01T01:01:00+01": 60.0,
    "1970-01-01 00:01:00 UTC": 60.0,
    "1970-01-01T00:00:01.5Z": 1.5,
    "1969-12-31T23:59:58.25": -1.75,
    "1970-01-01 00:00:00.123456789": 0.123456,
    "2020-02-30": None,
    "2020-13-01": None,
    "2020-01-01T25:00": None,
    "2020": None,
    "T10:00": None,
    "12:00": None,
    "2020/01/02": None,
    "today": None,
    "epoch": None,
    "": None,
}
NANS = {"nan": None, " NaN\n": None, "nano": "nano", "": None}
TEXTS = {" a b ": "a b", "\t\n\r\f\v x\n": "x", "x": "x", "": "", " ": "", "\u00a0x": "\u00a0x"}
JSON = {'["a", 1]': True, "[]": True, '{"a": null}': True, "[REC]": False, "[1": False, "": False}
LISTS = {
    '["a", "b, c"]': ["a", "b, c"],
    "[]": [],
    '["é\\n", "\\u00e9"]': ["é\n", "é"],
    "[1, 2.5]": ["1", "2.5"],
}

CASES: dict[str, tuple[Callable[[Column], Column], dict[str, Any]]] = {
    "floats": (values.parse_float, FLOATS),
    "ints": (values.parse_int, INTS),
    "times": (values.parse_time, TIMES),
    "without NaN": (values.without_nan, NANS),
    "stripped": (values.stripped, TEXTS),
    "json": (values.is_json, JSON),
    "lists": (values.parse_list, LISTS),
}


@pytest.mark.parametrize("case", CASES)
def test_text_is_understood_alike(case: str, engine: DataSection, tmp_path: Path) -> None:
    parse, expected = CASES[case]
    table = pa.table({"place": range(len(expected)), "text": [*expected]})
    pq.write_table(table, tmp_path / "texts.parquet")
    with session(engine) as con:
        texts = read(con, tmp_path / "texts.parquet")
        parsed = texts.mutate(value=parse(texts.text)).order_by("place")
        write(con, parsed, tmp_path / "values.parquet")
    rows = pq.read_table(tmp_path / "values.parquet").to_pylist()
    found = {r["text"]: r["value"] for r in rows}
    for text, value in expected.items():
        assert found[text] == value, text


def test_a_missing_text_stays_missing(engine: DataSection, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([None], pa.string())}), tmp_path / "t.parquet")
    with session(engine) as con:
        table = read(con, tmp_path / "t.parquet")
        parsed = {name: parse(table.text) for name, (parse, _) in CASES.items()}
        nulls = {name: value.isnull().sum() for name, value in parsed.items() if name != "json"}
        assert set(scalars(table.aggregate(**nulls)).values()) == {1}


NUMBERS = {
    "int32": [3, -4, None],
    "int64": [2**62, -(2**63), None],
    "float64": [1.5, -3.0, 1e300, float("nan"), float("inf"), None],
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_taken_as_they_are(kind: str, engine: DataSection, tmp_path: Path) -> None:
    given = NUMBERS[kind]
    table = pa.table({"place": range(len(given)), "n": pa.array(given, kind)})
    pq.write_table(table, tmp_path / "numbers.parquet")
    whole = kind != "float64"
    with session(engine) as con:
        n = read(con, tmp_path / "numbers.parquet")
        values_ = n.select(
            "place",
            int=values.parse_int(n.n),
            float=values.parse_float(n.n),
            time=values.parse_time(n.n),
            seconds=values.parse_seconds(n.n, dates=True),
            text=values.as_text(n.n),
        )
        write(con, values_.order_by("place"), tmp_path / "values.parquet")
    found = pq.read_table(tmp_path / "values.parquet").to_pydict()
    sane = [None if x is None or math.isnan(x) else x for x in given]
    assert found["int"] == (given if whole else [None] * len(given))
    assert found["float"] == sane
    assert found["time"] == [None] * len(given)
    assert found["seconds"] == [
        x if whole or x is None else math.floor(x) if abs(x) < 2**62 else None for x in sane
    ]
    assert found["text"][:2] == [str(x) for x in given[:2]]
