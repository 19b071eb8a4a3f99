"""A model that talks: its own chat template, from the training rows to recommendations."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import recllm
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer
from tunable import save_base

from recllm.catalog.histories import Sequences, SplitRows
from recllm.models.recommender import Recommender
from recllm.models.tuned import TunedModel
from recllm.prompts.training import IGNORED

BEGIN, START, END = "<|begin|>", "<|im_start|>", "<|im_end|>"
#: As Llama's, it begins with the start token; as Qwen3's, it leaves no room to think.
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
TURN = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
RECIPE = """
extends: base/quickstart
data: {{source: simulated, users: 120, items: 60, k_core: 3}}
embed: {{dimensions: 8}}
sid: {{levels: 2, codes: 16, health: {{max_resolution_cost: 1}}}}
model: {{name: {folder}/base, tuning: {tuning}}}
prompts: {{template: chat, max_history: 5}}
sft:
  tasks: {{seqrec: 1, title_to_sid: 1, sid_to_title: 1}}
  targets: last
  loss: vocab
  validation_users: 30
  trainer:
    max_steps: 24
    logging_steps: 4
    per_device_train_batch_size: 32
    learning_rate: 1e-2
    train_sampling_strategy: random
eval: {{scoring: vocab, beams: 10, cutoffs: [5, 10], bootstrap: 100}}
cache_dir: {folder}/cache
output_dir: {folder}/run
"""


def save_talking_base(folder: Path) -> None:
    """A base whose tokenizer has a chat template, and begins whatever it encodes by itself."""
    name = save_base(folder, "qwen3")
    tokenizer = AutoTokenizer.from_pretrained(name)
    tokenizer.add_special_tokens({"bos_token": BEGIN, "eos_token": END})
    tokenizer.add_tokens([START], special_tokens=True)
    begin = (BEGIN, tokenizer.convert_tokens_to_ids(BEGIN))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[begin]
    )
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(name)
    assert AutoTokenizer.from_pretrained(name)("x")["input_ids"][0] == begin[1]
    model = AutoModelForCausalLM.from_pretrained(name)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(name)


@pytest.mark.parametrize("tuning", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_talking_model_is_trained_and_asked_in_its_own_chat(tmp_path: Path, tuning: str) -> None:
    save_talking_base(tmp_path / "base")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path, tuning=tuning))
    outcome = recllm("run", str(recipe), "--until", "eval")
    assert outcome.code == 0, outcome.err
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert losses[-1] < 0.9 * losses[0]
    recommender = Recommender.load(tmp_path / "run" / "model")
    assert isinstance(recommender.model, TunedModel) == (tuning == "lora")
    tokenizer = recommender.renderer.tokenizer
    assert tokenizer.chat_template == CHAT  # the checkpoint can be asked without its base's folder
    (rendered,) = (tmp_path / "cache" / "prompts").glob("*/train.parquet")
    rows = pq.read_table(rendered).to_pylist()
    assert {row["task"] for row in rows} == {"seqrec", "title-to-sid", "sid-to-title"}
    asked = prompts_of_training_rows(tmp_path, recommender)
    for row in rows:
        prompt = sum(label == IGNORED for label in row["labels"])
        said = str(tokenizer.decode(row["input_ids"][:prompt]))
        assert said.startswith(f"{BEGIN}{START}user\n") and said.endswith(TURN)
        assert said.count(BEGIN) == 1
        assert row["labels"][prompt:] == row["input_ids"][prompt:]
        assert row["input_ids"][-1] == tokenizer.eos_token_id
        if row["task"] == "seqrec":  # token for token what evaluation asks
            assert row["input_ids"][:prompt] in asked[row["row"]]
    ranking = recommender.rank([[0, 5], [7]], beams=10)
    assert all(len(set(items)) == 10 for items in ranking.items.tolist())
    history = recommender.items.ids[0]
    told = recllm("recommend", str(tmp_path / "run"), "--history", history)
    assert told.code == 0 and "recommended" in told.out, told.err


def prompts_of_training_rows(folder: Path, recommender: Recommender) -> dict[int, list[list[int]]]:
    """For each training row by its log row, the question in every phrasing."""
    (manifest,) = (folder / "cache" / "split").glob("*/manifest.json")
    split = manifest.parent
    rows = SplitRows.read(split, "train", Sequences.read(split))
    histories = [np.asarray(rows.history(i)) for i in range(len(rows))]
    phrased = [
        recommender.renderer.recommendation_prompts(histories, phrasing)
        for phrasing in range(len(recommender.renderer.recommendation_phrasings))
    ]
    return {int(row): [prompts[i] for prompts in phrased] for i, row in enumerate(rows.row)}
