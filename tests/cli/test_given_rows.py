"""Rows that the user split, evaluated without training, and what cannot be."""

import json
from pathlib import Path

import pytest
from command_line import Outcome, recllm
from plain_checkpoint import ITEMS, RECIPE, ROWS, save_plain, write_world


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_world(tmp_path / "toys")
    save_plain(tmp_path / "plain")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    return tmp_path


def call(command: str, world: Path, *arguments: str) -> Outcome:
    return recllm(command, str(world / "recipe.yaml"), *arguments)


@pytest.mark.slow
def test_test_rows_alone_can_be_evaluated(world: Path) -> None:
    for split in ("train", "valid"):
        (world / "toys" / f"Toys.{split}.csv").unlink()
    checkpoint = ["--checkpoint", str(world / "plain")]
    refused = call("eval", world, *checkpoint)
    assert refused.code == 2
    assert "leaves train and valid without rows" in refused.err
    assert "evaluate_only" in refused.err
    planned = call("eval", world, "data.evaluate_only=true", "--dry-run", *checkpoint)
    names = [line.split()[0] for line in planned.out.splitlines()]
    assert names == ["ingest", "filter", "split", "sid", "baselines", "eval"]
    outcome = call("eval", world, "data.evaluate_only=true", *checkpoint)
    assert outcome.code == 0, outcome.err
    assert "no training rows: the baselines, which learn from them, know nothing" in outcome.err
    names = [line.split()[0] for line in outcome.out.splitlines()[:5]]
    assert names == ["ingest", "filter", "split", "sid", "baselines"]
    metrics = json.loads((world / "run/eval/checkpoints/0/metrics.json").read_text())
    assert metrics["rows"] == ROWS and metrics["outside_catalogue"] == 0
    trained = call("sft", world, "data.evaluate_only=true")
    assert trained.code == 2 and "nothing is trained" in trained.err


@pytest.mark.parametrize("evaluate_only", ["true", "false"])
def test_an_empty_test_split_is_refused(world: Path, evaluate_only: str) -> None:
    path = world / "toys" / "Toys.test.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    options = [f"data.evaluate_only={evaluate_only}", "--checkpoint", str(world / "plain")]
    outcome = call("eval", world, *options)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert "leaves test without rows" in outcome.err.splitlines()[-1]


def test_items_of_no_row_are_counted_and_kept(world: Path) -> None:
    for choice, items in (("keep", ITEMS), ("drop", ITEMS - 2)):
        options = [f"data.unseen_items={choice}", f"sid.path={world / 'toys' / 'Toys.index.json'}"]
        outcome = call("run", world, *options, "--until", "sid")
        assert outcome.code == 0, outcome.err
        said = {line.split()[0]: line for line in outcome.out.splitlines()}
        assert f" items {items}" in said["filter"]
        assert ("unseen_items 2" in said["filter"]) == (choice == "keep")
        assert ("sids_of_no_item 2" in said["sid"]) == (choice == "drop")


def test_an_index_that_lacks_items_is_refused(world: Path) -> None:
    index = json.loads((world / "toys" / "Toys.index.json").read_text())
    less = world / "less.index.json"
    less.write_text(
        json.dumps({item: sid for item, sid in index.items() if item not in ("3", "7")})
    )
    options = [f"sid.path={less}", "--checkpoint", str(world / "plain")]
    outcome = call("eval", world, *options)
    assert outcome.code == 2
    line = outcome.err.splitlines()[-1]
    assert f"expected a SID for each of {ITEMS} items, but 2 have none, such as '3'" in line
