"""`recllm data export`: whole folders or none, and which SIDs it takes."""

import json
from pathlib import Path
from unittest import mock

import pytest
from command_line import recllm
from peer_data import MINIONEREC

from recllm.data_prep.exports.minionerec import Minionerec


def test_the_log_of_a_recipe(recipe: str, tmp_path: Path) -> None:
    to = tmp_path / "new" / "Small"
    outcome = recllm("data", "export", recipe, "--format", "minionerec", "--to", str(to))
    assert outcome.code == 0, outcome.err
    assert "SIDs of the stage sid; in " in outcome.out
    assert (to / "train" / "Small.csv").is_file()
    assert not (tmp_path / "run").exists()
    again = recllm("data", "export", recipe, "--format", "lcrec", "--to", str(to))
    assert again.code == 2
    assert "expected a folder that is new or empty" in again.err
    other = tmp_path / "Games"
    other.mkdir()
    assert recllm("data", "export", recipe, "--format", "lcrec", "--to", str(other)).code == 0
    users = json.loads((other / "Games.inter.json").read_text())
    index = json.loads((other / "Games.index.json").read_text())
    assert all(str(item) in index for items in users.values() for item in items)


def test_given_sids_are_kept(recipe: str, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name, text in MINIONEREC.items():
        (given / name).write_text(text)
    to = tmp_path / "Toys"
    settings = ["data.source=minionerec", f"data.path={given}", "data.split=given"]
    settings += ["data.k_core=0"]
    outcome = recllm("data", "export", recipe, *settings, "--format", "minionerec", "--to", str(to))
    assert outcome.code == 0, outcome.err
    assert "items_sharing" not in outcome.out and "SIDs as given with the log" in outcome.out
    index = json.loads((to / "index" / "Toys.index.json").read_text())
    ids = dict(
        line.split("\t") for line in (to / "index" / "Toys.item2id").read_text().splitlines()
    )
    assert index[ids["10"]] == index[ids["0"]] == ["<a_1>", "<b_2>"]
    refused = recllm(
        "data", "export", recipe, *settings, "--format", "lcrec", "--to", str(to) + "2"
    )
    assert refused.code == 2
    assert "data.split is given; set it to leave_one_out" in refused.err


def test_nothing_half_written_is_left(recipe: str, tmp_path: Path) -> None:
    def fail(self: Minionerec, prepared: object, name: str, out: Path) -> dict[str, int]:
        (out / "half.csv").write_text("half")
        raise OSError(28, "No space left on device", str(out / "half.csv"))

    to = tmp_path / "exports" / "Toys"
    with mock.patch.object(Minionerec, "write", fail):
        outcome = recllm("data", "export", recipe, "--format", "minionerec", "--to", str(to))
    assert outcome.code == 1
    assert "no space is left" in outcome.err
    assert list(to.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["minionrec", ""])
def test_an_unknown_format(kind: str, recipe: str, tmp_path: Path) -> None:
    outcome = recllm("data", "export", recipe, "--format", kind, "--to", str(tmp_path / "x"))
    assert outcome.code == 2
    assert "'lcrec', 'minionerec'" in outcome.err


def test_a_file_in_the_folder_s_place(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for to in ("file", "file/below"):
        place = str(tmp_path / to)
        outcome = recllm("data", "export", recipe, "--format", "lcrec", "--to", place)
        assert outcome.code == 2
        assert "--to: expected a folder" in outcome.err
