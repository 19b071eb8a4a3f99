"""The source `hub`: saved folders, folders of files, splits, configurations, no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from recllm.data_prep.ingest import Ingest
from recllm.data_prep.sources import hub
from recllm.data_prep.sources.hub import Hub
from recllm.errors import UserError

from .conftest import make_recipe, run_source

Rows = list[dict[str, Any]]
Write = Callable[[str, str], Path]

LOG: Rows = [
    {"user_id": "007", "item_id": "x", "timestamp": 30, "rating": 4.5, "text": "good"},
    {"user_id": "b c", "item_id": "y,z", "timestamp": 10, "rating": None, "text": ""},
]
ITEMS: Rows = [{"item_id": "x", "title": "An X", "categories": ["A", "B"]}]


def saved(parts: dict[str, Dataset]) -> DatasetDict:
    together = DatasetDict()
    together.update(parts)
    return together


def ingest(out: Path, **options: Any) -> tuple[Rows, Rows, dict[str, int]]:
    folder = out / "ingested"
    folder.mkdir(exist_ok=True)
    counts = run_source(Hub.model_validate(options), folder)
    assert sorted(p.name for p in folder.iterdir()) == ["interactions.parquet", "items.parquet"]
    log = pq.read_table(folder / "interactions.parquet").to_pylist()
    return log, pq.read_table(folder / "items.parquet").to_pylist(), counts


def test_a_saved_dataset(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    Dataset.from_list(LOG).save_to_disk(path)
    log, items, counts = ingest(tmp_path, path=path)
    assert log == [
        {"row": 0, "user_id": "007", "item_id": "x", "timestamp": 30, "rating": 4.5},
        {"row": 1, "user_id": "b c", "item_id": "y,z", "timestamp": 10, "rating": None},
    ]
    assert [item["title"] for item in items] == ["x", "y,z"]
    assert counts["interactions"] == 2


def test_parts_of_a_saved_dataset_and_items_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BATCH_ROWS", 1)
    path = tmp_path / "saved"
    parts = {name: Dataset.from_list(LOG) for name in ("train", "validation", "test")}
    saved(parts | {"things": Dataset.from_list(ITEMS)}).save_to_disk(path)
    log, items, _ = ingest(tmp_path, path=path, items_part="things")
    assert [r["split"] for r in log] == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert [r["row"] for r in log] == list(range(6))
    assert items[0] == {"item_id": "x", "title": "An X", "categories": "A > B"}
    log, _, _ = ingest(tmp_path, path=path, parts=["test"])
    assert len(log) == 2 and "split" not in log[0]


CARD = """---
configs:
- config_name: log
  data_files: log/*.parquet
- config_name: things
  data_files: [{split: full, path: things.parquet}]
---
"""


def test_configurations_of_a_folder_of_files(write_file: Write, tmp_path: Path) -> None:
    path = write_file("given/README.md", CARD).parent
    (path / "log").mkdir()
    for number, row in enumerate(LOG):
        part = Dataset.from_list([row | {"who": row["user_id"]}])
        part.to_parquet(path / f"log/{number}.parquet")
    Dataset.from_list(ITEMS).to_parquet(path / "things.parquet")
    options = {"path": path, "subset": "log", "items_subset": "things", "columns": {"user": "who"}}
    log, items, _ = ingest(tmp_path, **options)
    assert [r["user_id"] for r in log] == ["007", "b c"]
    assert [item["title"] for item in items] == ["An X", "y,z"]
    with pytest.raises(UserError, match=r"cannot be loaded: .*'logs' not found"):
        ingest(tmp_path, **options | {"subset": "logs"})


def test_files_named_by_their_split(write_file: Write, tmp_path: Path) -> None:
    for split, user in (("train", "a"), ("valid", "b"), ("test", "c")):
        path = write_file(f"given/{split}.csv", f"user_id,item_id\n{user},x\n")
    log, _, counts = ingest(tmp_path, path=path.parent)
    assert [(r["user_id"], r["split"]) for r in log] == [
        ("a", "train"),
        ("b", "valid"),
        ("c", "test"),
    ]
    assert counts["file_order"] == 1


def test_the_folder_s_content_is_part_of_the_key(write_file: Write, tmp_path: Path) -> None:
    path = write_file("given/train.csv", "user_id,item_id\na,x\n").parent
    settings = Ingest(make_recipe(source="hub", path=str(path))).settings()
    assert str(tmp_path) not in str(settings)
    write_file("given/.cache/train.csv", "user_id,item_id\nb,x\n")
    assert Ingest(make_recipe(source="hub", path=str(path))).settings() == settings
    write_file("given/train.csv", "user_id,item_id\nb,x\n")
    assert Ingest(make_recipe(source="hub", path=str(path))).settings() != settings
    first, second = (
        Ingest(make_recipe(source="hub", dataset=f"user/{name}")).settings() for name in "ab"
    )
    assert first != second


def test_a_dataset_of_the_hub_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^user/log: the dataset cannot be loaded: .*network, or"):
        ingest_into(tmp_path, dataset="user/log")


def ingest_into(out: Path, **options: Any) -> dict[str, int]:
    out.mkdir(exist_ok=True)
    return run_source(Hub.model_validate(options), out)


def test_code_that_a_dataset_brings_is_not_run(write_file: Write, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write_file("given/given.py", f"open({str(mark)!r}, 'w')\n").parent
    with pytest.raises(UserError, match="cannot be loaded"):
        ingest_into(tmp_path / "out", path=path)
    assert not mark.exists()


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown column": (
        {"columns": {"user": "users"}},
        r"given: expected a column 'users'; did you mean 'user_id'\? found: user_id, .*text",
    ),
    "no column of items": ({"columns": {"item": "asin"}}, r"given: expected a column 'asin'"),
    "an unknown part": ({"parts": ["tran"]}, r"data\.parts: unknown split 'tran'; did you mean 't"),
    "an unknown part of items": ({"items_part": "items"}, r"data\.items_part: unknown split"),
    "a configuration of a saved folder": ({"subset": "x"}, r"has no configurations; drop 'x'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(case: str, tmp_path: Path) -> None:
    options, message = MISTAKES[case]
    path = tmp_path / "given"
    saved({"train": Dataset.from_list(LOG)}).save_to_disk(path)
    with pytest.raises(UserError, match=message) as caught:
        ingest_into(tmp_path / "out", path=path, **options)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_values_that_cannot_be_understood_are_named_by_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / "given"
    Dataset.from_list([LOG[0], LOG[1] | {"user_id": ""}]).save_to_disk(path)
    with pytest.raises(UserError, match=rf"^{path}: missing user_id .* first in row 2"):
        ingest_into(tmp_path / "out", path=path)


def test_parts_that_do_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "given"
    other = [{"user_id": "a", "item_id": "x"}]
    parts = {"train": Dataset.from_list(LOG), "test": Dataset.from_list(other)}
    saved(parts).save_to_disk(path)
    with pytest.raises(UserError, match="expected the same columns in every split"):
        ingest_into(tmp_path / "out", path=path)
    words = [LOG[0] | {"timestamp": "May"}]
    saved(parts | {"test": Dataset.from_list(words)}).save_to_disk(path)
    with pytest.raises(UserError, match="expected the same types in every split, but in 'test'"):
        ingest_into(tmp_path / "out", path=path)


def test_places_that_are_none(tmp_path: Path, write_file: Write) -> None:
    for options in ({}, {"dataset": "a/b", "path": "c"}):
        with pytest.raises(ValueError, match="exactly one of 'dataset'"):
            Hub.model_validate(options)
    with pytest.raises(ValueError, match="expected 'dataset' to be a Hub id, found 'a/b/c'"):
        Hub(dataset="a/b/c")
    with pytest.raises(ValueError, match="a folder has none"):
        Hub(path=Path("given"), revision="main")
    with pytest.raises(UserError, match="no such file or folder"):
        Hub(path=tmp_path / "nothing").input_files()
    with pytest.raises(UserError, match="expected a folder with a dataset, found a file"):
        Hub(path=write_file("log.csv", "")).input_files()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the dataset cannot be loaded"):
        ingest_into(tmp_path / "out", path=tmp_path / "empty")
