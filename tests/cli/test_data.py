"""`recllm data stats`: figures for people and as JSON."""

import json
import math
from pathlib import Path

import pytest
from command_line import recllm

RECIPE = """
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{source: files, path: {folder}/log.csv}}
model: {{from_scratch: {{hidden: 32, heads: 2}}}}
eval: {{bootstrap: 100}}
"""


def write_recipe(folder: Path, time: str) -> str:
    lines = [f"user_id,item_id,{time}"]
    lines += [f"u{u},i{(u + n) % 12},{86400 * (n + u)}" for u in range(12) for n in range(8)]
    lines += ["rare,i1,5"]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    return str(folder / "recipe.yaml")


@pytest.mark.parametrize("split", ["leave_one_out", "temporal"])
def test_figures_of_a_log(tmp_path: Path, split: str) -> None:
    recipe = write_recipe(tmp_path, "timestamp")
    outcome = recllm("data", "stats", recipe, f"data.split={split}", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    log = found["log"]
    assert (log["users"], log["items"], log["interactions"]) == (12, 12, 96)
    assert log["density"] == pytest.approx(96 / 144)
    assert log["lengths"]["median"] == 8
    # nobody repeats: a sequence of 8 has 7 pairs and 6 triples, each of them once
    assert log["approximate_entropy"]["per_sequence_m2"] == pytest.approx(math.log(7 / 6))
    assert sum(n for _, n in found["curves"]["interactions_over_time"]) == 96
    assert found["counts"]["filter"]["users_below_k_core"] == 1
    assert found["split"]["test"] == found["counts"]["split"]["test"] > 0
    assert found["leaks"] == []
    hit = found["floors"]["test"]["covisitation"]["hit@10"]
    assert hit["n"] == found["split"]["test"]
    assert 0 <= hit["ci95"][0] <= hit["value"] <= hit["ci95"][1] <= 1
    text = recllm("data", "stats", recipe, f"data.split={split}").out
    lines = {tuple(line.split()) for line in text.splitlines()}
    assert {("users", "12"), ("median", "8"), ("last", "time", "1970-01-19", "00:00")} <= lines
    assert ("approximate", "entropy", "per", "sequence", "m2", "0.1542") in lines
    assert ("users", "below", "k", "core", "1") in lines
    assert ("leaks", "0") in lines
    assert f"{hit['value']:.4f} [{hit['ci95'][0]:.4f}, {hit['ci95'][1]:.4f}]" in text
    assert not (tmp_path / "run").exists()


def test_an_order_has_no_times(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "position")
    log = json.loads(recllm("data", "stats", recipe, "--json").out)["log"]
    assert (log["order_only"], log["first_time"], log["last_time"]) == (True, None, None)
    assert "order only" in recllm("data", "stats", recipe).out
    refused = recllm("data", "stats", recipe, "data.split=temporal")
    assert refused.code == 2
    assert "positions and no times" in refused.err


def test_mistakes_are_told(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "timestamp")
    assert recllm("data", "stats", recipe, "data.splitt=x").code == 2
    assert recllm("data", "stat", recipe).code == 2
