"""Runs that tune an adapter: checkpoints, resuming, losses, and what is refused before training."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import Outcome, recllm
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from stopping import interrupted_at_evaluation
from tunable import name_base, save_base, save_plain_adapter

from recllm.models.recommender import Recommender
from recllm.models.tokenizers import train_tokenizer
from recllm.models.tuned import TunedModel
from recllm.train import fits
from recllm.train.trainer import RecommenderTrainer
from recllm.train.validation import Validation

RECIPE = """
extends: base/quickstart
data: {{source: simulated, users: 120, items: 60, k_core: 3}}
embed: {{dimensions: 8}}
sid: {{levels: 2, codes: 16, health: {{max_resolution_cost: 1}}}}
model: {{name: {base}, tuning: lora, lora: {{rank: 4, dropout: 0.1}}}}
sft:
  validation_users: 30
  drop_items: 0.3
  trainer: {{num_train_epochs: 3, per_device_train_batch_size: 32, learning_rate: 1e-2}}
cache_dir: {folder}/cache
output_dir: {folder}/run
"""


def write_recipe(folder: Path, base: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, base=base))
    return str(folder / "recipe.yaml")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_base(tmp_path_factory.mktemp("base"), tied=False)


def train(folder: Path, base: str, *overrides: str) -> Outcome:
    return recllm("sft", write_recipe(folder, base), *overrides)


def one_line(outcome: Outcome) -> str:
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    (line,) = (line for line in outcome.err.splitlines() if line.startswith("recllm: "))
    assert outcome.err.endswith(f"{line}\n")
    return line


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "model" / "adapter_model.safetensors")


def evaluations(folder: Path) -> list[float | None]:
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line).get("eval_ndcg@10") for line in lines]


@pytest.mark.parametrize("tuning", ["lora", pytest.param("sid-rows", marks=pytest.mark.slow)])
def test_the_best_checkpoint_is_kept(
    tmp_path: Path, base: str, tuning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    shapes: list[list[list[int]]] = []

    def measure(_: Validation, recommender: Recommender) -> NDArray[np.integer]:
        model = recommender.model
        assert isinstance(model, TunedModel)
        head = model.get_output_embeddings()
        assert head is not None and head.weight.shape[0] > 300
        seen.append({n: p.clone() for n, p in model.named_parameters() if p.requires_grad})
        saved = sorted((tmp_path / "cache").rglob("checkpoint-*/adapter_model.safetensors"))
        for path in saved:
            with safe_open(path, "pt") as file:
                shapes.append([file.get_slice(k).get_shape() for k in file.keys()])  # noqa: SIM118
        return np.array([len(seen) - 1])  # worse each time

    monkeypatch.setattr(Validation, "values", measure)
    options = ["model.lora=null"] if tuning == "sid-rows" else []
    outcome = train(tmp_path, base, f"model.tuning={tuning}", *options, "sft.patience=2")
    assert outcome.code == 0, outcome.err
    assert "parameters are trained" in outcome.err
    assert len(seen) == 3
    kept = weights(tmp_path)
    assert len(kept) == len(seen[0])
    first = {name.replace(".default", "") for name in seen[0]}
    assert {name.removesuffix(".weight") for name in kept} == {
        name.removesuffix(".weight") for name in first
    }
    for name, weight in kept.items():
        (same,) = [w for n, w in seen[0].items() if n.replace(".default", "") == name]
        assert torch.equal(weight, same)
    assert any(not torch.equal(seen[0][name], seen[2][name]) for name in seen[0])
    # A trainer's checkpoint has no row of the embedding or head but those of the SID tokens.
    assert shapes and all(max(shape) <= 64 for one in shapes for shape in one)


@pytest.mark.parametrize("tuning", ["lora", pytest.param("qlora", marks=pytest.mark.slow)])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    tmp_path: Path, base: str, tuning: str
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(whole, base, f"model.tuning={tuning}").code == 0
    with interrupted_at_evaluation(2):
        assert train(killed, base, f"model.tuning={tuning}").code == 1
    outcome = train(killed, base, f"model.tuning={tuning}")
    assert outcome.code == 0, outcome.err
    assert "going on from checkpoint-" in outcome.err
    first, second = weights(whole), weights(killed)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert evaluations(whole) == evaluations(killed)
    assert {weight.dtype for weight in first.values()} == {torch.float32}


@pytest.mark.parametrize("tuning", ["qlora", pytest.param("lora-8bit", marks=pytest.mark.slow)])
def test_a_quantised_base_trains_with_float32_rows(
    tmp_path: Path, base: str, tuning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtypes: set[torch.dtype] = set()
    step = RecommenderTrainer.training_step

    def watch(self: RecommenderTrainer, model: torch.nn.Module, *rest):
        dtypes.update(p.dtype for p in model.parameters() if p.requires_grad)
        return step(self, model, *rest)

    monkeypatch.setattr(RecommenderTrainer, "training_step", watch)
    outcome = train(tmp_path, base, f"model.tuning={tuning}", "sft.trainer.max_steps=4")
    assert outcome.code == 0, outcome.err
    assert dtypes == {torch.float32}
    losses = [row for row in evaluations(tmp_path) if row is not None]
    assert losses
    assert isinstance(Recommender.load(tmp_path / "run" / "model").model, TunedModel)


@pytest.mark.parametrize("loss", ["level", pytest.param("vocab", marks=pytest.mark.slow)])
def test_adapters_learn_and_are_evaluated(tmp_path: Path, base: str, loss: str) -> None:
    recipe = write_recipe(tmp_path, base)
    overrides = [f"sft.loss={loss}", f"eval.scoring={loss}", "sft.trainer.logging_steps=1"]
    outcome = recllm("run", recipe, *overrides, "--until", "eval")
    assert outcome.code == 0, outcome.err
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    metrics = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    assert metrics["metrics"]["hit@10"]["value"] > 0
    history = Recommender.load(tmp_path / "run" / "model").items.ids[0]
    told = recllm("recommend", str(tmp_path / "run"), "--history", history)
    assert told.code == 0 and "recommended" in told.out


@pytest.mark.parametrize("loss", ["vocab", pytest.param("level", marks=pytest.mark.slow)])
def test_the_first_loss_is_that_of_full_tuning(tmp_path: Path, base: str, loss: str) -> None:
    first = []
    for tuning in ("full", "lora", "sid-rows"):
        overrides = [
            f"model.tuning={tuning}", *([] if tuning == "lora" else ["model.lora=null"]),
            f"sft.loss={loss}", f"eval.scoring={loss}", "sft.trainer.max_steps=1",
            "sft.trainer.logging_steps=1",
        ]  # fmt: skip
        outcome = train(tmp_path / tuning, base, *overrides)
        assert outcome.code == 0, outcome.err
        row = json.loads((tmp_path / tuning / "run" / "metrics.jsonl").read_text().splitlines()[0])
        first.append(row["loss"])
    assert first == pytest.approx(first[:1] * 3, rel=1e-4)


@pytest.mark.slow
def test_mixed_precision_trains_an_adapter(tmp_path: Path, base: str) -> None:
    overrides = ["model.dtype=bfloat16", "sft.trainer.bf16=true", "sft.trainer.max_steps=3"]
    outcome = train(tmp_path, base, *overrides)
    assert outcome.code == 0, outcome.err
    assert {weight.dtype for weight in weights(tmp_path).values()} == {torch.float32}


def test_an_adapter_without_its_base_is_refused_before_any_work(tmp_path: Path, base: str) -> None:
    save_base(tmp_path / "own")
    own = str(tmp_path / "own")
    assert train(tmp_path / "first", own, "sft.trainer.max_steps=2").code == 0
    adapter = str(tmp_path / "first" / "run" / "model")
    save_base(tmp_path / "own", seed=4)
    line = one_line(train(tmp_path / "second", adapter))
    assert "where there is another model now" in line
    assert not (tmp_path / "second" / "cache").exists()


def test_an_adapter_of_another_program_on_the_wrong_base_is_refused(
    tmp_path: Path, base: str
) -> None:
    plain = tmp_path / "plain"
    save_plain_adapter(base, plain)
    name_base(plain, save_base(tmp_path / "wider", tied=False, hidden=64))
    line = one_line(train(tmp_path, str(plain)))
    assert f"{plain}: the adapter does not fit its base: " in line
    assert not list((tmp_path / "cache" / "sft").glob("*/model"))


def test_a_checkpoint_whose_tokenizer_lacks_its_sids_is_refused_before_training(
    tmp_path: Path, base: str
) -> None:
    assert train(tmp_path / "first", base, "sft.trainer.max_steps=2").code == 0
    checkpoint = shutil.copytree((tmp_path / "first" / "run" / "model").resolve(), tmp_path / "bad")
    train_tokenizer(["other text"], 300).save_pretrained(checkpoint)
    said = f"{checkpoint}: the tokenizer lacks 32 SID tokens of this index, such as <a_0>"
    assert said in one_line(train(tmp_path / "second", str(checkpoint)))
    assert not list((tmp_path / "second" / "cache").glob("prompts/*/train.parquet"))
    recipe = write_recipe(tmp_path / "first", base)
    assert said in one_line(recllm("eval", recipe, "--checkpoint", str(checkpoint)))


def test_other_sids_than_a_checkpoints_are_refused_before_prompts(
    tmp_path: Path, base: str
) -> None:
    assert train(tmp_path / "first", base, "sft.trainer.max_steps=2").code == 0
    adapter = str(tmp_path / "first" / "run" / "model")
    line = one_line(train(tmp_path / "second", adapter, "sid.quantizer=random"))
    assert "was trained with other SIDs than this run's" in line
    assert not list((tmp_path / "second" / "cache").glob("prompts/*/train.parquet"))
    outcome = train(tmp_path / "second", adapter, "sft.trainer.max_steps=2")
    assert outcome.code == 0, outcome.err
    assert "an adapter, merged into its base" in outcome.err


def test_rows_alone_need_sids(tmp_path: Path, base: str) -> None:
    overrides = [
        "model.tuning=sid-rows",
        "model.lora=null",
        "sid.quantizer=title",
        "sft.targets=last",
        "sft.drop_items=0",
        "sft.loss=vocab",
        "eval.scoring=vocab",
    ]
    outcome = train(tmp_path, base, *overrides)  # fmt: skip
    assert outcome.code == 2
    assert "sid-rows trains the rows of SID tokens, but items go by their titles" in outcome.err
    assert not (tmp_path / "cache").exists()


def gpu(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(fits, "_gpu_memory", lambda: memory)


def test_what_does_not_fit_the_gpu_is_refused_before_any_work(
    tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu(monkeypatch, 2**16)
    line = one_line(train(tmp_path, base))
    assert "model.tuning: lora with 32 rows at once needs at least " in line
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("overrides", "accumulation"), [((), 4), (("sft.batch_size=64",), None)], ids=["steps", "rows"]
)
def test_rows_that_do_not_fit_the_gpu_are_refused_with_what_would(
    tmp_path: Path, base: str, overrides: tuple[str, ...], accumulation: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gpu(monkeypatch, 3 * 2**20)  # for the weights, and for some of the rows
    line = one_line(train(tmp_path, base, *overrides))
    assert re.search(r"with 32 rows of up to \d+ tokens at once needs at least ", line)
    assert not list((tmp_path / "cache" / "sft").glob("*/model"))
    advised = line.split("what would fit: ")[1].split("; or ")[0]
    assert ("gradient_accumulation_steps" in advised) == (accumulation is not None)
    settings = re.findall(r"([\w.]+): (\w+)", advised)
    outcome = train(
        tmp_path, base, *overrides, *("=".join(s) for s in settings), "sft.trainer.max_steps=2"
    )
    assert outcome.code == 0, outcome.err


def test_a_gpu_that_holds_a_part_of_the_model_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits.torch.cuda, "is_available", lambda: True)
    for name in fits.SPREADING:
        monkeypatch.setenv(name, "true")
        assert fits._gpu_memory() is None
        monkeypatch.delenv(name)
    properties = SimpleNamespace(total_memory=2**30)
    monkeypatch.setattr(fits.torch.cuda, "get_device_properties", lambda _: properties)
    assert fits._gpu_memory() == 2**30
