"""`recllm sid extend` on a whole run: new items are recommended at once, old ones as before."""

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import Outcome, recllm
from titled_log import ITEMS, item_rows, write_titled_log

from recllm.catalog.sids import SidIndex, read_index
from recllm.models.recommender import Recommender


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    outcome = recllm("sft", str(write_titled_log(folder)))
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """The run and its cache elsewhere, so that a test may do with them what it wants."""
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.copytree(trained / "cache", tmp_path / "cache")
    resolved = tmp_path / "run" / "resolved.yaml"
    resolved.write_text(resolved.read_text().replace(str(trained), str(tmp_path)))
    return tmp_path


def extend(folder: Path, text: str, name: str = "new.csv") -> Outcome:
    (folder / name).write_text(text)
    return recllm("sid", "extend", str(folder / "run"), "--items", str(folder / name))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".owner.json"
    }


def test_new_items_are_recommended_and_old_scores_stay(folder: Path) -> None:
    before = files_of(folder / "run")
    outcome = extend(folder, "code,name\n" + item_rows(35, 50) + "i50,\n")
    assert outcome.code == 0, outcome.err
    first, *_, last = outcome.out.splitlines()
    assert first.startswith("11 new items: 5 in the catalogue already, ")
    assert "1 without a title" in first
    assert last == f"try: recllm recommend {folder / 'run' / 'extended'} --history ITEM_ID,ITEM_ID"
    after = files_of(folder / "run")
    assert {n: b for n, b in after.items() if not n.startswith("extended/")} == before
    assert not list((folder / "run").glob(".unfinished*"))

    old = Recommender.load(folder / "run" / "model")
    new = Recommender.load(folder / "run" / "extended")
    assert isinstance(old.sids, SidIndex) and isinstance(new.sids, SidIndex)
    assert new.sids.begins_with(old.sids) and new.sids.sizes == old.sids.sizes
    assert len(set(new.sids.texts())) == len(new.items) == ITEMS + 11
    assert new.items.table.schema == old.items.table.schema
    assert new.items.table["item"].to_pylist() == list(range(ITEMS + 11))
    assert new.items.titles[-1] == new.items.ids[-1] == "i50"

    histories = [[0, 1, 2], [7], [30, 31, 32, 33]]
    ranked = old.rank(histories, beams=ITEMS, exclude_history=False)
    grown = new.rank(histories, beams=ITEMS + 11, exclude_history=False)
    for row in range(len(histories)):
        scores = dict(zip(grown.items[row].tolist(), grown.scores[row].tolist(), strict=True))
        assert set(scores) == set(range(ITEMS + 11))
        expected = dict(zip(ranked.items[row].tolist(), ranked.scores[row].tolist(), strict=True))
        assert {item: scores[item] for item in expected} == pytest.approx(expected, abs=1e-5)

    shown = recllm("recommend", str(folder / "run" / "extended"), "--history", "i3,i45", "-k", "51")
    assert shown.code == 0, shown.err
    listed = {line.split()[1] for line in shown.out.split("recommended")[1].splitlines()[1:]}
    assert {f"i{item}" for item in range(51)} == listed
    plain = recllm("recommend", str(folder / "run"), "--history", "i3", "-k", "51")
    assert plain.code == 0 and "i45" not in plain.out
    assert f"recllm recommend {folder / 'run' / 'extended'}" in plain.err


def test_similar_titles_share_a_prefix_with_what_they_are_like(folder: Path) -> None:
    """What is placed by its text lies near the text's like, and not anywhere."""
    rows = "".join(f"j{item},{row.partition(',')[2]}\n" for item, row in
                   enumerate(item_rows(0, ITEMS).splitlines()))  # fmt: skip
    assert extend(folder, "code,name\n" + rows).code == 0
    index = read_index(folder / "run" / "extended" / "sids.parquet")
    assert isinstance(index, SidIndex)
    place = {item_id: row for row, item_id in enumerate(index.item_ids)}
    pairs = [(place[f"i{item}"], place[f"j{item}"]) for item in range(ITEMS)]
    like = np.mean([index.codes[old, 0] == index.codes[new, 0] for old, new in pairs])
    shuffled = np.random.default_rng(0).permutation(ITEMS)
    chance = np.mean(
        [index.codes[pairs[i][0], 0] == index.codes[pairs[shuffled[i]][1], 0] for i in range(ITEMS)]
    )
    assert like > chance + 0.2


def test_a_second_call_adds_to_the_first(folder: Path) -> None:
    assert extend(folder, "code,name\n" + item_rows(38, 45)).code == 0
    first = read_index(folder / "run" / "extended" / "sids.parquet")
    second = extend(folder, "code,name\n" + item_rows(30, 60))
    assert second.code == 0, second.err
    assert second.out.startswith("15 new items: 15 in the catalogue already")
    index = read_index(folder / "run" / "extended" / "sids.parquet")
    assert len(first) == 45 and len(index) == 60
    assert index.begins_with(first)
    model = folder / "run" / "extended" / "model.safetensors"
    assert model.read_bytes() == (folder / "run" / "model" / "model.safetensors").read_bytes()


def test_known_items_alone_change_nothing(folder: Path) -> None:
    before = files_of(folder / "run")
    outcome = extend(folder, "code,name\ni3,another title\ni4,\n")
    assert outcome.code == 0
    assert outcome.out == (
        f"nothing is new in {folder / 'new.csv'}, nothing was written: "
        "2 in the catalogue already, 0 without a title\n"
    )
    assert files_of(folder / "run") == before


def test_columns_that_the_catalogue_lacks_are_passed_over(folder: Path) -> None:
    table = pa.table({"code": ["x1"], "brand": ["Acme"], "price": [1.5]})
    pq.write_table(table, folder / "new.parquet")
    outcome = recllm("sid", "extend", str(folder / "run"), "--items", str(folder / "new.parquet"))
    assert outcome.code == 2  # the run's recipe names the title's column
    assert "'name'" in outcome.err
    pq.write_table(table.append_column("name", pa.array(["Sea"])), folder / "new.parquet")
    outcome = recllm("sid", "extend", str(folder / "run"), "--items", str(folder / "new.parquet"))
    assert outcome.code == 0, outcome.err
    assert "columns passed over 1" in outcome.out
    items = pq.read_table(folder / "run" / "extended" / "items.parquet")
    assert items.column_names == ["item", "item_id", "title"]
    assert items["title"].to_pylist()[-1] == "Sea"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,name\nx,a\nx,b\n", "1 item ids that stand more than once"),
        ("thing,name\nx,a\n", "expected a column 'code'"),
        ("", "the file is empty"),
        ("code,name\n,a\n", "item without id"),
        ("code,name\n" + "".join(f"x{n},a{n}\n" for n in range(600)), "at most 512 items"),
    ],
)
def test_items_that_cannot_be_placed(folder: Path, text: str, message: str) -> None:
    before = files_of(folder / "run")
    outcome = extend(folder, text)
    assert outcome.code == 2
    assert message in outcome.err and outcome.err.count("\n") == 1
    assert files_of(folder / "run") == before


def test_a_run_or_file_that_is_not_there(folder: Path) -> None:
    run, file = str(folder / "run"), str(folder / "items.csv")
    (folder / "items.csv").write_text("code,name\nx,a\n")
    for arguments, message in (
        ((str(folder / "nothing"), "--items", file), "there is none"),
        ((str(folder / "run" / "model"), "--items", file), "found no resolved.yaml in it"),
        ((run, "--items", str(folder / "nothing.csv")), "no such file"),
        ((run, "--items", str(folder)), "expected a file, found a folder"),
        ((run,), "--items"),
    ):
        outcome = recllm("sid", "extend", *arguments)
        assert outcome.code == 2, arguments
        assert message in outcome.err
    shutil.rmtree(folder / "run" / "model")
    outcome = recllm("sid", "extend", run, "--items", file)
    assert outcome.code == 2 and f"recllm sft {run}/resolved.yaml" in outcome.err


def test_the_log_is_not_needed(folder: Path, trained: Path) -> None:
    """The run was copied: its recipe names a log that is not there."""
    assert not (folder / "log.csv").exists() and (trained / "log.csv").exists()
    assert extend(folder, "code,name\nx,The sea\n").code == 0


@pytest.mark.parametrize("stage", ["sid", "embed"])
def test_a_cache_without_the_artifacts(folder: Path, stage: str) -> None:
    shutil.rmtree(folder / "cache" / stage)
    outcome = extend(folder, "code,name\nx,The sea\n")
    assert outcome.code == 2
    assert f"expected the run's stage {stage} in this cache" in outcome.err
    assert f"recllm run {folder / 'run' / 'resolved.yaml'} --until sid" in outcome.err
    assert not (folder / "cache" / stage).exists()


def test_a_model_with_other_sids(folder: Path) -> None:
    path = folder / "run" / "model" / "sids.parquet"
    index = SidIndex.read(path)
    SidIndex(index.item_ids, index.codes[::-1].copy(), index.codes_per_level).write(path)
    outcome = extend(folder, "code,name\nx,The sea\n")
    assert outcome.code == 2 and "was made with other SIDs" in outcome.err


def test_an_encoder_that_cannot_encode_new_items(folder: Path) -> None:
    from recllm.data_prep.encoders import Encoder
    from recllm.data_prep.encoders.fusion import Fusion

    with mock.patch.object(Fusion, "encode_new", Encoder.encode_new):
        outcome = extend(folder, "code,name\nx,The sea\n")
    assert outcome.code == 2
    assert "the encoder fusion cannot encode items that come later" in outcome.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 1, "no space is left"),
        (KeyboardInterrupt(), 1, "interrupted in sid extend"),
    ],
)
def test_nothing_half_written_is_left(
    folder: Path, error: BaseException, code: int, message: str
) -> None:
    assert extend(folder, "code,name\n" + item_rows(40, 45)).code == 0
    before = files_of(folder / "run")
    with mock.patch("recllm.models.checkpoint_files.write_catalog", side_effect=error):
        outcome = extend(folder, "code,name\n" + item_rows(40, 50))
    assert outcome.code == code
    assert message in outcome.err and "Traceback" not in outcome.err
    assert files_of(folder / "run") == before
