"""Runs that start from a recommender on the Hub's stand-in, as from its folder."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import Outcome, recllm
from hub_client import asked_hub, forget
from huggingface_hub import constants
from local_hub import COMMIT
from smallest_run import RECIPE

RL = [
    "rl.generations=4", "rl.validation_users=10", "rl.trainer.max_steps=1",
    "rl.trainer.per_device_train_batch_size=8",
]  # fmt: skip


@pytest.mark.slow
def test_training_goes_on_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))

    def run(name: str, *options: str) -> Outcome:
        place = f"output_dir={tmp_path / name}"
        outcome = recllm("run", str(tmp_path / "recipe.yaml"), place, *options)
        assert outcome.code == 0, outcome.err
        return outcome

    run("first", "--until", "sft")
    shutil.copytree(tmp_path / "first" / "model", tmp_path / "pushed")
    with asked_hub(tmp_path / "hub", monkeypatch) as hub:
        hub.repos["ann/shop"] = tmp_path / "pushed"
        tuned = ["model.name=ann/shop", "model.tuning=lora", "model.lora.rank=2"]
        planned = run("second", *tuned, "--until", "sft", "--dry-run")
        assert "would run" in planned.out
        assert hub.sent == ["recllm.json"]
        run("second", *tuned, "--until", "sft")
        described = json.loads((tmp_path / "second/model/recllm.json").read_text())
        assert described["base"] == {"name": "ann/shop", "revision": COMMIT, "fingerprint": None}
        reinforced = ["rl.checkpoint=ann/shop@v1", *RL, "--until", "rl"]
        run("third", *reinforced)
        forget()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        for name, options in {"second": [*tuned, "--until", "sft"], "third": reinforced}.items():
            again = run(name, *options, "--dry-run")
            assert "would run" not in again.out
        items = pq.read_table(tmp_path / "second/model/items.parquet")["item_id"].to_pylist()
        outcome = recllm("recommend", str(tmp_path / "second"), "--history", items[0], "-k", "3")
        assert outcome.code == 0, outcome.err
