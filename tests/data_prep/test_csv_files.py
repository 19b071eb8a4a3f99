"""The lines in which the records of a CSV file begin."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data_prep.sources._csv_files import find_records

CELLS = st.text(st.sampled_from("ab ,\"\n'é"), max_size=4)
ENDS = st.sampled_from(["\n", "\r\n"])


def written(record: list[str], end: str) -> str:
    """One record as CSV; an empty one is a blank line."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerow(record)
    return text.getvalue()


@given(st.lists(st.lists(CELLS, max_size=3), max_size=12), ENDS, st.booleans())
def test_records_against_those_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[str]], end: str, ends: bool
) -> None:
    text, lines, blanks = f"a{end}", [1], []
    for place, record in enumerate(records, 2):
        if record:
            lines.append(text.count("\n") + 1)
        else:
            blanks.append(place)
        text += written(record, end)
    if not ends and not text.endswith(end * 2):
        text = text.removesuffix(end)
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    path.write_text(text, encoding="utf-8", newline="")
    found = find_records(path, len(lines) - 1)
    if lines == list(range(1, text.count("\n") + (not text.endswith("\n")) + 1)):
        assert found is None
    else:
        assert found is not None
        assert (found.lines.tolist(), found.blanks) == (lines, blanks)


def test_nobody_knows_where_the_readers_disagree(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b'a,b\n1,"x\ny"\n2,z\n'))
    assert find_records(path, 3) is None  # as many as lines
    assert find_records(path, 4) is None
    found = find_records(path, 2)
    assert found is not None and found.lines.tolist() == [1, 2, 4]


def test_a_value_that_python_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('a,b\n1,"' + "x\n" * csv.field_size_limit() + '"\n')
    assert find_records(path, 1) is None
