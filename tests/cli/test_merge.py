"""`recllm merge`: a whole recommender out of an adapter."""

from pathlib import Path

import numpy as np
import pytest
from command_line import recllm
from tunable import HISTORIES, disturb, make_section, save_base, tune

from recllm.models.recommender import Recommender


@pytest.mark.parametrize("tuning", ["lora", "sid-rows", "qlora"])
def test_the_merged_model_ranks_as_the_adapter_does(tmp_path: Path, tuning: str) -> None:
    name = save_base(tmp_path / "base", tied=tuning == "lora", hidden=64)
    run = tmp_path / "run"
    disturb(tune(make_section(name, tuning))).save(run / "model")
    outcome = recllm("merge", str(run), str(tmp_path / "whole"))
    assert outcome.code == 0, outcome.err
    assert f"{tmp_path / 'whole'}: {run / 'model'} merged into its base" in outcome.out
    (tmp_path / "base").rename(tmp_path / "gone")
    whole = Recommender.load(tmp_path / "whole")
    (tmp_path / "gone").rename(tmp_path / "base")
    ranked = [r.rank(HISTORIES, beams=10) for r in (Recommender.load(run / "model"), whole)]
    assert np.array_equal(ranked[0].items, ranked[1].items)
    assert np.allclose(ranked[0].scores, ranked[1].scores, atol=1e-4)
    assert not list(tmp_path.glob(".unfinished*"))
    again = recllm("merge", str(run), str(tmp_path / "whole"))
    assert again.code == 2 and "expected a folder that is new or empty" in again.err


def test_what_cannot_be_merged(tmp_path: Path) -> None:
    tune(make_section(save_base(tmp_path / "base"), "full")).save(tmp_path / "full")
    for folder, message in {
        "full": "found a whole model: there is nothing to merge, use it as it is",
        "base": "expected a recllm checkpoint, found no recllm.json",
        "none": "user/name on the Hub; there is no such folder",
    }.items():
        outcome = recllm("merge", str(tmp_path / folder), str(tmp_path / "whole"))
        assert outcome.code == 2
        assert message in outcome.err
        assert not (tmp_path / "whole").exists()
