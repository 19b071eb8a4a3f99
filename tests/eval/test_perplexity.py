"""Runs whose recipe names a text of general language."""

import json
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import recllm
from transformers import AutoModelForCausalLM, AutoTokenizer
from tunable import save_base

from recllm.eval.perplexity import OTHER_TOKENS
from recllm.models.recommender import Recommender

TEXT = "A quiet harbor lies behind the loud one, volume by volume.\r\nÜber allem: Stille.\n" * 3
RECIPE = """
extends: base/quickstart
data: {{source: simulated, users: 60, items: 40, k_core: 3}}
embed: {{dimensions: 8}}
sid: {{levels: 2, codes: 16, health: {{max_resolution_cost: 1}}}}
model: {model}
sft:
  validation_users: 10
  trainer: {{max_steps: 2, per_device_train_batch_size: 16}}
eval: {{beams: 5, cutoffs: [5], bootstrap: 100, perplexity: {folder}/text.txt}}
cache_dir: {folder}/cache
output_dir: {folder}/run
"""
SCRATCH = "{from_scratch: {hidden: 16, layers: 1, heads: 2, vocabulary: 300}, dtype: float32}"


def write(folder: Path, model: str) -> str:
    (folder / "text.txt").write_bytes(TEXT.encode())
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, model=model))
    return str(folder / "recipe.yaml")


def measured(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "eval" / "metrics.json").read_text())["perplexity"]


@torch.no_grad()
def plain_loss(model: Any, tokenizer: Any) -> float:
    """The model's own loss on the whole text, after the token that ends one."""
    ids = [tokenizer.eos_token_id, *tokenizer(TEXT)["input_ids"]]
    tokens = torch.tensor([ids], device=model.device)
    return float(model.eval()(tokens, labels=tokens).loss)


def test_an_adapter_stands_beside_its_base(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    recipe = write(tmp_path, f"{{name: {base}, tuning: lora, lora: {{rank: 4}}, dtype: float32}}")
    outcome = recllm("run", recipe)
    assert outcome.code == 0, outcome.err
    found = measured(tmp_path)
    assert found["text"] == {
        "name": "text.txt", "sha256": sha256(TEXT.encode()).hexdigest(),
        "bytes": len(TEXT.encode()),
    }  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert found["tokens"] == len(tokenizer(TEXT)["input_ids"])
    assert found["start"] == "<|endoftext|>"
    assert found["base"]["name"] == base
    models = {
        "checkpoint": Recommender.load(tmp_path / "run" / "model").model,
        "base": AutoModelForCausalLM.from_pretrained(base),
    }
    for name, model in models.items():
        loss = plain_loss(model, tokenizer)
        assert found[name]["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
        bits = loss / math.log(2) * found["tokens"] / found["text"]["bytes"]
        assert found[name]["bits_per_byte"] == pytest.approx(bits, rel=1e-4)
    # The base has no SID tokens; those of the checkpoint take some of the probability.
    without = found["base"].pop("without_sids")
    assert without == {key: found["base"][key] for key in without}
    checkpoint = found["checkpoint"]
    assert checkpoint["without_sids"]["perplexity"] < checkpoint["perplexity"]
    shown = f"{checkpoint['perplexity']:.2f} (base {found['base']['perplexity']:.2f})"
    assert f"perplexity of text.txt: {shown}" in outcome.out
    assert "General language" in (tmp_path / "run" / "report.md").read_text()

    again = recllm("run", recipe, "--dry-run")
    assert "would run" not in again.out
    with (tmp_path / "text.txt").open("a") as text:
        text.write("More.\n")
    changed = [line.split() for line in recllm("run", recipe, "--dry-run").out.splitlines()]
    assert [line[0] for line in changed if "would" in line] == ["eval", "report"]

    table = recllm("eval", recipe, "--checkpoint", str(tmp_path / "run")).out
    head, row, *others = table.splitlines()[-4:]
    assert head.split()[-1] == "perplexity"
    assert "(base " in row and not any("(base" in other for other in others)


def test_a_model_from_scratch_has_no_base_and_another_tokenizer_is_no_base_of_it(
    tmp_path: Path,
) -> None:
    recipe = write(tmp_path, SCRATCH)
    outcome = recllm("run", recipe)
    assert outcome.code == 0, outcome.err
    found = measured(tmp_path)
    assert "base" not in found
    assert found["checkpoint"]["without_sids"]["perplexity"] < found["checkpoint"]["perplexity"]
    assert "trained from scratch" in (tmp_path / "run" / "report.md").read_text()

    (tmp_path / "other").mkdir()
    other = write(tmp_path, f"{{name: {save_base(tmp_path / 'base')}, dtype: float32}}")
    arguments = ["--checkpoint", str(tmp_path / "run"), f"output_dir={tmp_path}/other"]
    outcome = recllm("eval", other, *arguments)
    assert outcome.code == 0, outcome.err
    assert OTHER_TOKENS in outcome.err
    stated = json.loads((tmp_path / "other/eval/checkpoints/0/metrics.json").read_text())
    assert stated["perplexity"]["checkpoint"] == found["checkpoint"]
    base = {"name": str(tmp_path / "base"), "left_out": OTHER_TOKENS}
    assert stated["perplexity"]["base"] == base


def test_a_text_of_sids_is_refused(tmp_path: Path) -> None:
    recipe = write(tmp_path, SCRATCH)
    (tmp_path / "text.txt").write_text("Next comes <a_3><b_1>.")
    outcome = recllm("run", recipe, "--until", "eval")
    assert outcome.code == 2
    assert "found tokens of SIDs in it, such as <a_3>" in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "found none"),
        (b"\xff\xfeA\x00", "found other bytes from byte 0 on"),
        (b" \n", "found an empty file"),
    ],
)
@pytest.mark.parametrize("arguments", [("run",), ("eval", "--checkpoint", "nowhere")])
def test_a_text_that_cannot_be_read_is_refused_before_any_work(
    tmp_path: Path, content: bytes | None, said: str, arguments: tuple[str, ...]
) -> None:
    recipe = write(tmp_path, SCRATCH)
    text = tmp_path / "text.txt"
    if content is None:
        text.unlink()
    else:
        text.write_bytes(content)
    command, *options = arguments
    outcome = recllm(command, recipe, *options)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("recllm: eval.perplexity: ") and said in line
    assert not (tmp_path / "cache").exists()
