"""The SFT stage: the best checkpoint is kept, a killed run goes on, pretrained folders train."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import recllm
from numpy.typing import NDArray
from safetensors.torch import load_file
from stopping import interrupted_at_evaluation
from transformers import AutoConfig, AutoModelForCausalLM

from recllm.models.recommender import Recommender
from recllm.models.tokenizers import train_tokenizer
from recllm.train.validation import Validation

RECIPE = """
extends: base/quickstart
data: {source: simulated, users: 200, items: 60, k_core: 3}
embed: {dimensions: 8}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 1}}
model: {from_scratch: {hidden: 32, layers: 1, heads: 2, dropout: 0.1, vocabulary: 300}}
sft:
  validation_users: 50
  drop_items: 0.3
  trainer: {num_train_epochs: 3, per_device_train_batch_size: 32, learning_rate: 5e-3}
"""


def train(folder: Path, cache: Path, *overrides: str) -> tuple[int, str]:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    places = [f"output_dir={folder / 'run'}", f"cache_dir={cache}"]
    outcome = recllm("sft", str(folder / "recipe.yaml"), *places, *overrides)
    return outcome.code, outcome.err


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "model" / "model.safetensors")


def evaluations(folder: Path) -> list[float | None]:
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line).get("eval_ndcg@10") for line in lines]


def test_the_best_checkpoint_is_kept_and_training_stops_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def measure(_: Validation, recommender: Recommender) -> NDArray[np.integer]:
        seen.append({k: v.clone() for k, v in recommender.model.state_dict().items()})
        return np.array([len(seen) - 1])  # worse each time

    monkeypatch.setattr(Validation, "values", measure)
    overrides = ["sft.patience=2", "sft.trainer.num_train_epochs=9"]
    code, err = train(tmp_path, tmp_path / "cache", *overrides)
    assert code == 0, err
    assert len(seen) == 3  # the best, and two that were worse
    kept = weights(tmp_path)
    assert all(torch.equal(kept[name], seen[0][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[2][name]) for name in kept)


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert train(whole, tmp_path / "cache")[0] == 0
    killed = tmp_path / "killed"
    with interrupted_at_evaluation(2):
        code, err = train(killed, tmp_path / "cache2")
    assert code == 1
    assert (
        "interrupted in sft; finished and kept: ingest, filter, split, embed, sid, prompts;" in err
    )
    assert "goes on in sft from epoch 1 of 3 (checkpoint-" in err
    assert not (killed / "run" / "model").exists()
    code, err = train(killed, tmp_path / "cache2")
    assert code == 0, err
    assert "going on from checkpoint-" in err
    first, second = weights(whole), weights(killed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert evaluations(whole) == evaluations(killed)


@pytest.mark.parametrize("loss", ["level", "vocab"])
def test_mixed_precision_trains_and_validates(tmp_path: Path, loss: str) -> None:
    overrides = ["sft.trainer.bf16=true", "sft.trainer.num_train_epochs=1", f"sft.loss={loss}"]
    code, err = train(tmp_path, tmp_path / "cache", *overrides, f"eval.scoring={loss}")
    assert code == 0, err
    assert any(evaluations(tmp_path))


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
def test_a_pretrained_folder_is_fine_tuned(tmp_path: Path, architecture: str) -> None:
    tokenizer = train_tokenizer([f"The silent harbor, volume {i}" for i in range(50)], 300)
    config = AutoConfig.for_model(
        architecture, vocab_size=len(tokenizer) + 20, hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        tie_word_embeddings=architecture != "llama", eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    overrides = [
        f"model.name={base}", "sft.targets=last", "sft.drop_items=0", "prompts.template=alpaca",
        "sft.trainer.max_steps=4", "sft.trainer.eval_strategy=steps", "sft.trainer.eval_steps=2",
        "sft.trainer.save_strategy=steps", "sft.trainer.save_steps=2",
    ]  # fmt: skip
    code, err = train(tmp_path, tmp_path / "cache", *overrides)
    assert code == 0, err
    folder = tmp_path / "run" / "model"
    assert json.loads((folder / "config.json").read_text())["model_type"] == architecture
    assert len(weights(tmp_path)["model.embed_tokens.weight"]) >= len(tokenizer) + 32


def test_settings_that_trl_refuses_are_the_users_mistake(tmp_path: Path) -> None:
    code, err = train(tmp_path, tmp_path / "cache", "sft.trainer.eval_strategy=never")
    assert code == 2
    assert "sft.trainer: TRL does not take these settings" in err
