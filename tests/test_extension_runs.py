"""Runs of other schemes than residual k-means, extended by items that come later."""

from pathlib import Path

import pytest
from command_line import recllm
from titled_log import ITEMS, item_rows, write_titled_log

from recllm.catalog.sids import SidIndex, read_index
from recllm.models.recommender import Recommender


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["sid.quantizer=title", "sft.targets=last", "sft.loss=vocab", "eval.scoring=vocab"],
        ["sid.quantizer=sequential"],
        ["sid.quantizer=rq-vae", "sid.epochs=5", "sid.hidden=[16]", "sid.latent=4"],
    ],
    ids=["title", "sequential", "rq-vae"],
)
def test_new_items_are_recommended(tmp_path: Path, options: list[str]) -> None:
    outcome = recllm("sft", str(write_titled_log(tmp_path)), *options)
    assert outcome.code == 0, outcome.err
    (tmp_path / "new.csv").write_text("code,name\n" + item_rows(ITEMS - 2, ITEMS + 8))
    outcome = recllm("sid", "extend", str(tmp_path / "run"), "--items", str(tmp_path / "new.csv"))
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("8 new items: 2 in the catalogue already")
    old = Recommender.load(tmp_path / "run" / "model")
    new = Recommender.load(tmp_path / "run" / "extended")
    assert new.sids.begins_with(old.sids) and len(new.sids) == ITEMS + 8
    assert len(set(new.sids.texts())) == ITEMS + 8
    before = old.rank([[1, 2, 3]], beams=ITEMS, exclude_history=False)
    after = new.rank([[1, 2, 3]], beams=ITEMS + 8, exclude_history=False)
    scores = dict(zip(after.items[0].tolist(), after.scores[0].tolist(), strict=True))
    assert set(scores) == set(range(ITEMS + 8))
    expected = dict(zip(before.items[0].tolist(), before.scores[0].tolist(), strict=True))
    assert {item: scores[item] for item in expected} == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_a_scheme_that_cannot_says_so(tmp_path: Path) -> None:
    outcome = recllm("sft", str(write_titled_log(tmp_path)), "sid.quantizer=collaborative")
    assert outcome.code == 0, outcome.err
    index = read_index(tmp_path / "run" / "model" / "sids.parquet")
    assert isinstance(index, SidIndex)
    (tmp_path / "new.csv").write_text("code,name\n" + item_rows(ITEMS, ITEMS + 1))
    outcome = recllm("sid", "extend", str(tmp_path / "run"), "--items", str(tmp_path / "new.csv"))
    assert outcome.code == 2
    assert "the indexing scheme collaborative cannot place items that come later" in outcome.err
    assert not (tmp_path / "run" / "extended").exists()
