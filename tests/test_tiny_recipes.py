"""Each tiny recipe runs in seconds and beats popularity on the simulated log."""

import json
from pathlib import Path

import pytest
from command_line import recllm

#: The metric of each recipe.
METRICS = {
    "tiny/tallrec": "auc",
    "tiny/bigrec": "hit@10",
    "tiny/lcrec": "hit@10",
    "tiny/minionerec-sft": "hit@10",
    "tiny/minionerec-rl": "hit@10",
    "tiny/minionerec-rl-lora": "hit@10",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_a_tiny_recipe_beats_popularity(name: str, tmp_path: Path) -> None:
    places = [f"output_dir={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}"]
    outcome = recllm("run", name, *places)
    assert outcome.code == 0, outcome.err
    found = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    difference = found["paired"]["popularity"][METRICS[name]]
    assert difference["ci95"][0] > 0, (found["metrics"], found["baselines"])
