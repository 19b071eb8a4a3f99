"""The splits against plain Python, and on the real logs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive_data
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from naive_data import SPLITS, divide

from recllm.catalog.histories import Sequences, SplitRows, read_moments
from recllm.config.plugins import SPLITS as REGISTERED
from recllm.config.schema import DataSection
from recllm.data_prep.splits.given import Given
from recllm.data_prep.splits.leave_one_out import LeaveOneOut
from recllm.errors import UserError
from recllm.prompts.leaks import check_leaks

Write = Callable[[str, str], Path]
Prepare = Callable[..., Any]


def test_ties_are_settled_by_row_and_counted(con: Any, tmp_path: Path) -> None:
    order = [(0, 5), (1, 3), (2, 9), (3, 9)]
    log = [{"row": r, "user_id": "a", "item": r, "timestamp": t} for r, t in order]
    found, counts = divide(con, LeaveOneOut(), log, tmp_path)
    assert found["sequences"][0]["items"] == [1, 0, 2, 3]
    assert counts["users_with_tied_last_times"] == 1


def test_types(con: Any, tmp_path: Path) -> None:
    log = [{"row": r, "user_id": "a", "item": r, "timestamp": r} for r in range(4)]
    divide(con, LeaveOneOut(), log, tmp_path)
    sequences = pq.read_schema(tmp_path / "sequences.parquet")
    lists = {"items": pa.list_(pa.int32()), "rows": pa.list_(pa.int64())}
    for name, kind in lists.items():
        assert sequences.field(name).type.value_type == kind.value_type
    assert sequences.field("sequence").type == sequences.field("train_end").type == pa.int64()
    for name in SPLITS:
        fields = {f.name: f.type for f in pq.read_schema(tmp_path / f"{name}.parquet")}
        whole = dict.fromkeys(("row", "sequence", "start", "end"), pa.int64())
        cold = {} if name == "train" else dict.fromkeys(("cold_item", "cold_user"), pa.bool_())
        assert fields == whole | {"user_id": pa.string(), "target": pa.int32()} | cold


def test_a_log_too_short_to_test_on(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", "user,item\na,x\na,y\nb,x\n")
    with pytest.raises(UserError, match=r"leaves valid and test without rows .*users_too_short 2"):
        prepare("split", source="files", path=path, k_core=0)


LABELLED = """user,item,time,split
a,x,1,train
a,y,2,train
a,z,3,valid
a,x,4,test
b,y,1,
b,x,2,test
b,z,3,
c,z,1,test
"""


def test_a_column_of_the_log_says_the_split(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", LABELLED)
    done = prepare("split", source="files", path=path, k_core=0, split="given")
    sequences = done.rows("split", "sequences")
    assert [(s["user_id"], s["train_end"]) for s in sequences] == [("a", 2), ("b", 0), ("c", 0)]
    ends = {
        n: [(r["user_id"], r["start"], r["end"]) for r in done.rows("split", n)] for n in SPLITS
    }
    assert ends == {
        "train": [("a", 0, 1)],
        "valid": [("a", 0, 2)],
        "test": [("a", 0, 3), ("b", 0, 1)],
    }
    counts = done.counts["split"]
    assert (counts["history_only"], counts["no_history"]) == (2, 1)


def test_labels_that_cannot_be_right(write_file: Write, prepare: Prepare) -> None:
    def run(text: str) -> None:
        prepare("split", source="files", path=write_file("l.csv", text), k_core=0, split="given")

    with pytest.raises(UserError, match="1 interactions have a split other than"):
        run(LABELLED.replace("a,z,3,valid", "a,z,3,dev"))
    with pytest.raises(UserError, match="in 1 sequences a training interaction comes after"):
        run(LABELLED.replace("a,x,4,test", "a,x,4,train"))
    with pytest.raises(UserError, match="no column that says train"):
        run(LABELLED.replace("split", "part"))


TRAIN = (
    "chain_id,history,target\n0,i1,i2\n0,i1 i2,i3\n0,i2 i3,i1\n0,i9,i1\n1,i2 i2,i2\n1,i2 i2,i2\n"
)
VALID = 'user_id,history,target\nu,"[""i1"", ""i2""]",i3\nv,,i3\nu,i1 i2 i3,i4\n'
TEST = "history,target\ni4,i5\ni4 i5,i6\n"


@pytest.fixture
def chains(write_file: Write) -> Path:
    for name, text in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        path = write_file(f"chains/{name}.csv", text)
    return path.parent


def test_ready_made_histories(chains: Path, prepare: Prepare) -> None:
    done = prepare("split", source="chains", path=chains, k_core=0, split="given")
    assert done.histories("train") == [
        ("chain 0", ["i1"], "i2"),
        ("chain 0", ["i1", "i2"], "i3"),
        ("chain 0", ["i2", "i3"], "i1"),
        ("chain 0", ["i9"], "i1"),
        ("chain 1", ["i2", "i2"], "i2"),
        ("chain 1", ["i2", "i2"], "i2"),
    ]
    assert done.histories("valid") == [("u", ["i1", "i2"], "i3"), ("u", ["i1", "i2", "i3"], "i4")]
    assert done.histories("test") == [("row 1", ["i4"], "i5"), ("row 2", ["i4", "i5"], "i6")]
    sequences = done.rows("split", "sequences")
    lengths = [(s["user_id"], len(s["items"]), s["train_end"]) for s in sequences]
    assert lengths == [
        ("chain 0", 4, 4),
        ("chain 0", 2, 2),
        ("chain 1", 4, 4),
        ("u", 4, 0),
        ("v", 1, 0),
        ("row 1", 2, 0),
        ("row 2", 3, 0),
    ]
    assert done.counts["ingest"]["targets_without_history"] == 1
    rows = [row for s in sequences for row in s["rows"]]
    assert rows == list(range(len(rows)))


def test_ready_made_histories_are_neither_filtered_nor_split_again(
    chains: Path, prepare: Prepare
) -> None:
    with pytest.raises(UserError, match=r"cannot be filtered; set data\.k_core to 0"):
        prepare("split", source="chains", path=chains, split="given")
    with pytest.raises(UserError, match=r"split already; set data\.split to given"):
        prepare("split", source="chains", path=chains, k_core=0)


def test_histories_that_cannot_be_understood(chains: Path, prepare: Prepare) -> None:
    (chains / "valid.csv").write_text("history,target\n[i1,i2\n")
    with pytest.raises(UserError, match=r"'history'\) in 1 row, first in line 2"):
        prepare("split", source="chains", path=chains, k_core=0, split="given")
    (chains / "valid.csv").unlink()
    with pytest.raises(UserError, match=r"expected a file valid\.\*"):
        prepare("split", source="chains", path=chains, k_core=0, split="given")


def labelled_log() -> str:
    """A log that every split can divide: users of several lengths, with times and labels."""
    lines = ["user,item,time,split"]
    for user in range(40):
        length = 1 + user % 7
        for place in range(length):
            label = ("train", "valid", "test")[max(0, place - length + 3)]
            lines.append(f"u{user},i{(user * 3 + place) % 9},{3 * user + 5 * place},{label}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", REGISTERED.names())
def test_every_split_keeps_its_promises(name: str, write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", labelled_log())
    done = prepare(source="files", path=path, k_core=0, split=name)
    log = {r["row"]: r for r in done.filtered()}
    listed = done.rows("split", "sequences")
    assert [s["sequence"] for s in listed] == list(range(len(listed)))
    assert sorted(row for s in listed for row in s["rows"]) == sorted(log)
    for sequence in listed:
        own = [log[row] for row in sequence["rows"]]
        assert own == sorted(own, key=lambda r: (r["timestamp"], r["row"]))
        assert [r["item"] for r in own] == sequence["items"]
        assert {r["user_id"] for r in own} == {sequence["user_id"]}
    sequences = Sequences.read(done.folders["split"])
    rows = {n: SplitRows.read(done.folders["split"], n, sequences) for n in SPLITS}
    cut = REGISTERED.load(name).global_cut
    check_leaks(sequences, rows, read_moments(done.folders["filter"], sequences, cut))
    counts = done.counts["split"]
    trained = {i for s in listed for i in s["items"][: s["train_end"]]}
    users = {s["user_id"] for s in listed if s["train_end"]}
    for split in SPLITS:
        table = done.rows("split", split)
        assert counts[split] == len(table) > 0
        assert table == sorted(table, key=lambda r: (r["sequence"], r["end"]))
        cold = [r["target"] not in trained for r in table]
        assert sum(cold) == (0 if split == "train" else counts[f"cold_targets_{split}"])
        if split != "train":
            assert [r["cold_item"] for r in table] == cold
            assert [r["cold_user"] for r in table] == [r["user_id"] not in users for r in table]
    assert counts["cold_items"] == len({r["item"] for r in log.values()} - trained)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["files", "chains"])
def test_a_split_of_the_user_s_on_spark(
    source: str, spark: DataSection, chains: Path, write_file: Write, prepare: Prepare
) -> None:
    path = chains if source == "chains" else write_file("log.csv", LABELLED)
    data = {"source": source, "path": path, "k_core": 0, "split": "given"}
    expected, found = prepare(**data), prepare(**data, engine=spark.engine)
    assert found.counts == expected.counts
    for name in ("sequences", *SPLITS):
        assert found.rows("split", name) == expected.rows("split", name)


def test_given_needs_no_sequence_column(con: Any, tmp_path: Path) -> None:
    log = [
        {"row": r, "user_id": "a", "item": r, "timestamp": r, "split": s}
        for r, s in enumerate(("train", "train", "valid", "test"))
    ]
    found, counts = divide(con, Given(), log, tmp_path)
    assert [len(found[n]) for n in SPLITS] == [1, 1, 1]
    assert counts["sequences"] == 1


def test_beauty(beauty: Any) -> None:
    counts = beauty.counts["split"]
    assert [counts[n] for n in ("sequences", "valid", "test")] == [22_363] * 3
    assert counts["train"] == 198_502 - 3 * 22_363
    last = {r["user_id"]: r["row"] for r in beauty.rows("ingest", "interactions")}
    assert {r["user_id"]: r["row"] for r in beauty.rows("split", "test")} == last


def test_movielens(movielens: Any) -> None:
    assert movielens.counts["split"]["test"] == 671
    assert movielens.counts["split"]["users_with_tied_last_times"] == 127
    log = movielens.filtered()
    assert movielens.rows("split", "test") == naive_data.leave_one_out(log)[0]["test"]


@pytest.mark.slow
def test_flower_video_games(real_data: Path, prepare: Prepare) -> None:
    path = real_data / "flower-video-games"
    done = prepare("split", source="chains", path=str(path), k_core=0, split="given")
    assert [done.counts["split"][n] for n in SPLITS] == [49_133, 6_142, 6_142]
    assert done.counts["filter"]["items"] == 3_858
    for name in SPLITS:
        expected = pyarrow.csv.read_csv(path / f"{name}.csv.gz").to_pylist()
        user = "chain_id" if name == "train" else "user_id"
        prefix = "chain " if name == "train" else ""
        assert sorted(done.histories(name)) == sorted(
            (f"{prefix}{r[user]}", str(r["history"]).split(), str(r["target"])) for r in expected
        )
