"""Training on a mix of tasks: answers in SIDs and in words, under either loss."""

import json
from pathlib import Path

import pytest
from command_line import recllm
from task_log import RECIPE, write_inputs

from recllm.models.recommender import Recommender

MIX = """
sft:
  tasks:
    seqrec: 1
    title_history_to_sid: 1
    sid_history_to_title: 1
    sid_history_to_description: 1
    title_to_sid: 1
    sid_to_title: 1
    description_to_sid: 1
    sid_to_description: 1
    item_search: {{file: {folder}/intents.jsonl}}
    preference: {{file: {folder}/preferences.csv, column: taste}}
  trainer:
    max_steps: 8
    eval_strategy: steps
    save_strategy: steps
    eval_steps: 8
    save_steps: 8
    logging_steps: 2
    per_device_train_batch_size: 16
    learning_rate: 5e-3
eval: {{beams: 5, cutoffs: [5]}}
"""
ALL_TARGETS = [
    "sft.targets=all", "sft.drop_items=0.3",
    "sft.tasks={seqrec: 1, title_to_sid: 1, sid_to_title: 1, description_to_sid: 1}",
]  # fmt: skip


@pytest.mark.parametrize(("targets", "loss"), [("last", "vocab"), ("all", "level")])
def test_a_mix_is_learned(tmp_path: Path, targets: str, loss: str) -> None:
    write_inputs(tmp_path)
    text = (RECIPE + MIX).format(folder=tmp_path)
    if targets == "all":  # an override merges: the mix itself is another one
        text = text.split("  tasks:")[0] + "  trainer:" + text.split("  trainer:")[1]
    (tmp_path / "recipe.yaml").write_text(text)
    settings = [f"sft.loss={loss}", f"eval.scoring={loss}", *(ALL_TARGETS * (targets == "all"))]
    outcome = recllm("sft", str(tmp_path / "recipe.yaml"), *settings)
    assert outcome.code == 0, outcome.err
    lines = [json.loads(s) for s in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0] - 0.2
    recommender = Recommender.load(tmp_path / "run" / "model")
    ranking = recommender.rank([[0, 5]], beams=5)
    assert len(set(ranking.items[0].tolist())) == 5
