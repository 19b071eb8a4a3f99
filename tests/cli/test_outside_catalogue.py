"""Test rows whose target no model can name: counted as misses, and said so."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import Outcome, recllm
from plain_checkpoint import RECIPE, ROWS, save_plain, write_world

from recllm.cli.headline import headline_table
from recllm.eval.report.conditions import conditions
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report_parts import find_examples, hit_curve
from recllm.metrics import compute

pytestmark = pytest.mark.slow

OUTSIDE = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose first rows have targets of which its files say nothing."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "toys", OUTSIDE)
    save_plain(folder / "plain")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    return folder


def evaluate(world: Path, *options: str) -> Outcome:
    checkpoint = ["--checkpoint", str(world / "plain")]
    return recllm("eval", str(world / "recipe.yaml"), *options, *checkpoint)


def test_an_index_that_lacks_them_is_refused(world: Path) -> None:
    refused = evaluate(world)
    assert refused.code == 2
    assert "1 have none, such as '999'" in refused.err and "missing_items: drop" in refused.err


def test_they_are_misses_of_everybody(world: Path) -> None:
    outcome = evaluate(world, "data.missing_items=drop")
    assert outcome.code == 0, outcome.err
    said = f"{OUTSIDE} of them misses: the target is not in the catalogue"
    assert f"{ROWS} rows, {said}" in outcome.out
    folder = world / "run/eval/checkpoints/0"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["rows"], metrics["outside_catalogue"]) == (ROWS, OUTSIDE)
    table = pq.read_table(folder / "predictions.parquet")
    ranks = table["rank"].to_numpy()
    assert len(ranks) == ROWS and (table["target"].to_numpy() < 0).sum() == OUTSIDE
    assert sorted(table["user_id"].to_pylist()[-OUTSIDE:]) == [
        f"A{2 * ROWS + i}" for i in range(OUTSIDE)
    ]
    asked = ranks[:-OUTSIDE]
    for whose in (metrics["metrics"], metrics["sid_metrics"], *metrics["baselines"].values()):
        assert {estimate["n"] for estimate in whose.values()} == {ROWS}
    for name in ("hit@10", "ndcg@10", "mrr@20"):
        of_asked = compute(name, asked).sum()
        assert metrics["metrics"][name]["value"] == pytest.approx(of_asked / ROWS)
        assert of_asked > 0
    assert sum(part["n"] for part in metrics["slices"]["history_length"]) == ROWS - OUTSIDE


def test_the_report_counts_them_too(world: Path) -> None:
    assert evaluate(world, "data.missing_items=drop").code == 0
    inputs = {"eval": world / "run/eval/checkpoints/0"}
    for stage in ("filter", "split", "baselines"):
        built = sorted((world / "cache" / stage).glob("*/manifest.json"), key=os.path.getmtime)
        inputs[stage] = built[-1].parent
    metrics = json.loads((inputs["eval"] / "metrics.json").read_text())
    curve = hit_curve(inputs, beams=20)
    assert curve["model"][10] == metrics["metrics"]["hit@10"]["value"]
    assert curve["popularity"][10] == metrics["baselines"]["popularity"]["hit@10"]["value"]
    users = {example["user_id"] for example in find_examples(inputs, seed=0)}
    assert users and not users & {f"A{2 * ROWS + i}" for i in range(OUTSIDE)}
    assert conditions(ReportInputs("a run", metrics=metrics)).startswith(
        f"test split · {ROWS} rows · {OUTSIDE} of them misses: the target is not in the catalogue"
    )
    assert f"{ROWS} rows ({OUTSIDE} of them misses" in headline_table(metrics)
