"""The source `tallrec`: what was liked, what was disliked, the answer, and the real prompts."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from peer_data import TALLREC, tallrec_prompt

from recllm.data_prep.sources.tallrec import Tallrec
from recllm.errors import UserError

from .conftest import run_source

Prompt = tuple[list[str], list[str], str, str]


def ingest(path: Path, out: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    out.mkdir(exist_ok=True)
    counts = run_source(Tallrec(path=path), out)
    return pq.read_table(out / "interactions.parquet").to_pylist(), counts


def place(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def prompts(log: list[dict[str, Any]], split: str) -> list[Prompt]:
    """Liked, disliked, target and answer of each sequence of a split."""
    sequences: dict[int, list[dict[str, Any]]] = {}
    for row in log:
        sequences.setdefault(row["sequence"], []).append(row)
    found = []
    for *history, target in sequences.values():
        if target["split"] == split:
            assert target["history"] == len(history)
            assert [r["timestamp"] for r in history] == list(range(len(history)))
            assert all(r["history"] == 0 for r in history)
            assert all((r["behavior"] == "like") == (r["rating"] == 1) for r in [*history, target])
            liked = [r["item_id"] for r in history if r["behavior"] == "like"]
            disliked = [r["item_id"] for r in history if r["behavior"] == "dislike"]
            answer = {1.0: "Yes.", 0.0: "No."}[target["rating"]]
            found.append((liked, disliked, target["item_id"], answer))
    return found


def test_prompts(tmp_path: Path) -> None:
    log, counts = ingest(place(tmp_path / "given", TALLREC), tmp_path / "out")
    assert prompts(log, "valid") == [
        (["Dave (1993)", "Net, The (1995)"], ["Heat"], "Scream (1996)", "No."),
        ([], ['Is this "it"?', "A"], "Dave (1993)", "Yes."),
    ]
    author = "Emma written by Jane Austen"
    assert prompts(log, "test") == [([author, "It written by S. King, Jr."], [], author, "Yes.")]
    assert {r["user_id"] for r in log} == {"valid row 1", "valid row 2", "test row 1"}
    assert counts == {
        "rows": 3,
        "yes": 2,
        "no": 1,
        "liked": 4,
        "disliked": 3,
        "targets_without_history": 0,
        "order_only": 1,
        "missing_splits": 1,
        "interactions": 10,
        "items_missing_from_items_file": 0,
        "items_titled_by_id": 0,
        "items": 8,
    }


def test_prompts_of_three_splits_can_be_divided(
    tmp_path: Path, prepare: Callable[..., Any]
) -> None:
    train = {"train.json": TALLREC["movie.valid.json"]}
    path = place(tmp_path / "given", TALLREC | train)
    done = prepare(source="tallrec", path=str(path), k_core=0, split="given")
    assert [done.counts["split"][name] for name in ("train", "valid", "test")] == [2, 2, 1]
    rated = {r["row"]: r["rating"] for r in done.rows("filter", "interactions")}
    assert [rated[r["row"]] for r in done.rows("split", "valid")] == [0.0, 1.0]


def broken(**changes: str) -> dict[str, str]:
    good = tallrec_prompt('"A"', "", 'movie "B"', "Yes.")
    return {"test.json": json.dumps([good, good | changes])}


MISTAKES: dict[str, tuple[dict[str, str], str]] = {
    "no files": ({"notes.json": "[]"}, r"such as test\.json, found notes\.json"),
    "two of a split": (
        {"a.test.json": "[]", "b.test.json": "[]"},
        r"expected one test file, found a\.test\.json, b\.test\.json",
    ),
    "another answer": (broken(output="Maybe."), r"'output'\) in 1 row, first in row 2"),
    "no answer": (broken(output=""), r"'output'\) in 1 row, first in row 2"),
    "another text": (broken(input="Does she like it?"), r"'input'\) in 1 row, first in row 2"),
    "no target": (
        broken(input='User Preference: "A"\nUser Unpreference: \nWhether the user will?'),
        r"'input'\) in 1 row",
    ),
    "other keys": ({"test.json": '[{"prompt": "x"}]'}, r"instruction, input and output, found pro"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(case: str, tmp_path: Path) -> None:
    files, message = MISTAKES[case]
    with pytest.raises(UserError, match=message) as caught:
        ingest(place(tmp_path / "given", files), tmp_path / "out")
    assert "\n" not in str(caught.value)


def naive(row: dict[str, str]) -> Prompt:
    """A prompt of the real data, whose titles hold no quotes, taken apart by its quotes."""
    liked, disliked, target = row["input"].split("\n")
    lists = [re.findall(r'"([^"]*)"', line) for line in (liked, disliked, target)]
    return lists[0], lists[1], lists[2][0], row["output"]


def test_the_real_prompts_are_read_completely(real_data: Path, tmp_path: Path) -> None:
    log, counts = ingest(real_data / "tallrec-movie", tmp_path / "out")
    titles: set[str] = set()
    answers: Counter[str] = Counter()
    for split in ("valid", "test"):
        path = real_data / "tallrec-movie" / f"movie.{split}.json.gz"
        expected = [naive(row) for row in json.loads(gzip.decompress(path.read_bytes()))]
        assert len(expected) == 1_000
        assert prompts(log, split) == expected
        answers.update(answer for *_, answer in expected)
        titles.update(title for a, b, target, _ in expected for title in (*a, *b, target))
    assert (counts["rows"], counts["interactions"]) == (2_000, 22_000)
    assert (counts["yes"], counts["no"]) == (answers["Yes."], answers["No."]) == (1_186, 814)
    assert counts["items"] == len(titles)
    assert (counts["missing_splits"], counts["targets_without_history"]) == (1, 0)
