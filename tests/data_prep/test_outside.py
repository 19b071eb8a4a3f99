"""Held-out targets that are not in the catalogue are kept apart, against a naive version."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recllm.catalog.outside import read_outside
from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.config.schema import DataSection

from .conftest import engine_keys

Prepare = Callable[..., Any]
Row = tuple[str, list[str], str]


def drawn_rows(rng: random.Random) -> dict[str, list[Row]]:
    """Rows of a few users, many of whose histories go on from the row before."""
    rows: dict[str, list[Row]] = {}
    for split in SPLITS:
        rows[split] = [("e", ["A"], "B")]  # so that none is left without rows
        for user in rng.sample("abcd", 3):
            seen: list[str] = [rng.choice("ABCDE") for _ in range(rng.randint(0, 2))]
            for _ in range(rng.randint(1, 4)):
                target = rng.choice("ABCDE")
                rows[split].append((user, list(seen), target))
                seen = [*seen, target][-rng.randint(1, 4) :]
    return rows


def write_rows(folder: Path, rows: dict[str, list[Row]], known: str) -> Path:
    folder.mkdir()
    for split, found in rows.items():
        lines = [json.dumps({"user": u, "history": h, "target": t}) for u, h, t in found]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{i},T{i}\n" for i in known))
    return folder


def naive(rows: list[Row], known: str) -> tuple[list[Row], list[str], int]:
    """The rows that are left, the users of those that are outside, and those without history."""
    left, outside, without = [], [], 0
    for user, history, target in rows:
        shown = [item for item in history if item in known]
        if not shown:
            without += bool(history) and target in known
        elif target in known:
            left.append((user, shown, target))
        else:
            outside.append(user)
    return sorted(left), sorted(outside), without


@pytest.mark.parametrize("seed", range(12))
def test_ready_made_rows(seed: int, tmp_path: Path, prepare: Prepare) -> None:
    are_as_expected(seed, tmp_path, prepare)


def test_ready_made_rows_on_spark(spark: DataSection, tmp_path: Path, prepare: Prepare) -> None:
    are_as_expected(0, tmp_path, prepare, **engine_keys(spark))


def are_as_expected(seed: int, tmp_path: Path, prepare: Prepare, **engine: Any) -> None:
    rows, known = drawn_rows(random.Random(seed)), "ABD"
    expected = {split: naive(found, known) for split, found in rows.items()}
    folder = write_rows(tmp_path / "chains", rows, known)
    done = prepare(
        source="chains", path=str(folder), k_core=0, split="given", missing_items="drop", **engine
    )
    for split, (left, _, _) in expected.items():
        assert sorted(done.histories(split)) == left
    for split in HELD_OUT:
        outside = expected[split][1]
        assert sorted(read_outside(done.folders["filter"], split)) == outside
        assert done.counts["filter"][f"outside_catalogue_{split}"] == len(outside)
    lost = sum(without for _, _, without in expected.values())
    assert done.counts["ingest"]["targets_left_without_history"] == lost


LOG = """user_id,item_id,timestamp,split
u,A,1,train
u,B,2,train
u,X,3,test
v,X,1,valid
v,A,2,train
v,B,3,test
w,A,1,train
w,B,2,train
w,A,3,valid
w,Y,4,test
x,Y,1,test
"""


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_a_log_with_labels(
    missing: str, engine: DataSection, tmp_path: Path, prepare: Prepare
) -> None:
    """X and Y are too rare, or unknown: only what has a history would be asked for."""
    (tmp_path / "log.csv").write_text(LOG.replace("v,X,1,valid\n", ""))
    (tmp_path / "items.csv").write_text("item_id,title\nA,a\nB,b\n")
    done = prepare(
        source="files", path=str(tmp_path / "log.csv"), items=str(tmp_path / "items.csv"),
        columns={"split": "split"}, split="given", k_core=2, missing_items=missing,
        **engine_keys(engine),
    )  # fmt: skip
    assert read_outside(done.folders["filter"], "test") == ["u", "w"]
    assert read_outside(done.folders["filter"], "valid") == []
    assert done.counts["filter"]["outside_catalogue_test"] == 2
    assert [user for user, _, _ in done.histories("test")] == ["v"]


def test_the_parts_of_several_logs(engine: DataSection, tmp_path: Path, prepare: Prepare) -> None:
    (tmp_path / "log.csv").write_text(LOG.replace("v,X,1,valid\n", ""))
    (tmp_path / "items.csv").write_text("item_id,title\nA,a\nB,b\n")
    part = {
        "source": "files", "path": str(tmp_path / "log.csv"), "items": str(tmp_path / "items.csv"),
        "columns": {"split": "split"},
    }  # fmt: skip
    parts = {"one": part | {"missing_items": "drop"}, "two": part | {"missing_items": "keep"}}
    done = prepare(source="several", parts=parts, split="given", k_core=2, **engine_keys(engine))
    users = ["one/u", "one/w", "two/u", "two/w"]
    assert read_outside(done.folders["filter"], "test") == users


def test_a_log_that_recllm_splits_has_none(tmp_path: Path, prepare: Prepare) -> None:
    more = "".join(f"{user},{item},{5 + n}\n" for user in "uvw" for n, item in enumerate("AB"))
    short = "".join(f"{line.rpartition(',')[0]}\n" for line in LOG.splitlines())
    (tmp_path / "log.csv").write_text(short + more)
    done = prepare(source="files", path=str(tmp_path / "log.csv"), k_core=3)
    assert pq.read_metadata(done.folders["filter"] / "items.parquet").num_rows == 2
    assert not (done.folders["filter"] / "outside.parquet").exists()
