"""The trainer, against TRL's own on the same rows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from small_models import make_model
from transformers import PreTrainedModel, TrainerCallback
from transformers.integrations import integration_utils
from trl import SFTConfig, SFTTrainer

from recllm.errors import UserError
from recllm.models.tokenizers import train_tokenizer
from recllm.prompts.training import IGNORED
from recllm.train.padding_free import PADDED_ATTENTION
from recllm.train.trainer import RecommenderTrainer

VOCABULARY = 320
TOKENIZER = train_tokenizer(["some text to learn from"] * 9, VOCABULARY)


def make_rows(count: int = 26) -> Dataset:
    """Rows of different lengths, whose last one to four tokens are labels."""
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for row in range(count):
        length = int(torch.randint(5, 30, (1,), generator=generator))
        ids = torch.randint(10, 300, (length,), generator=generator).tolist()
        answer = 1 + row % 4
        rows["input_ids"].append(ids)
        rows["labels"].append([IGNORED] * (length - answer) + ids[-answer:])
    return Dataset.from_dict(rows)


def make_arguments(folder: Path, **settings: Any) -> SFTConfig:
    defaults: dict[str, Any] = {
        "output_dir": str(folder), "max_length": None, "use_cpu": True, "learning_rate": 1e-2,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 2,
        "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True, "bf16": False,
        "dataset_kwargs": {"skip_prepare_dataset": True}, "gradient_checkpointing": False,
    }  # fmt: skip
    return SFTConfig(**(defaults | settings))


def make_trainer(folder: Path, model: PreTrainedModel, **settings: Any) -> RecommenderTrainer:
    return RecommenderTrainer(
        model,
        make_arguments(folder, **settings),
        train_dataset=make_rows(),
        processing_class=TOKENIZER,
        measure=dict,
    )


def column(trainer: SFTTrainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


@pytest.fixture(scope="module")
def from_trl(tmp_path_factory: pytest.TempPathFactory) -> SFTTrainer:
    trainer = SFTTrainer(
        make_model(vocabulary=VOCABULARY),
        make_arguments(tmp_path_factory.mktemp("trl")),
        train_dataset=make_rows(),
        processing_class=TOKENIZER,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("padding_free", [False, True])
def test_training_is_that_of_trl(
    tmp_path: Path, from_trl: SFTTrainer, padding_free: bool, checkpointing: bool
) -> None:
    model = make_model(vocabulary=VOCABULARY)
    settings = {"padding_free": padding_free, "gradient_checkpointing": checkpointing}
    trainer = make_trainer(tmp_path, model, **settings)
    trainer.train()
    expected = column(from_trl, "loss")
    assert len(expected) == 8
    assert column(trainer, "loss") == pytest.approx(expected, abs=1e-4)
    assert column(trainer, "grad_norm") == pytest.approx(column(from_trl, "grad_norm"), rel=1e-3)
    weights: Any = from_trl.model
    for name, weight in weights.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, atol=1e-3, rtol=1e-3)
    assert model.config._attn_implementation == "sdpa"


def test_the_log_says_how_fast_it_went(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path,
        make_model(vocabulary=VOCABULARY),
        padding_free=True,
        include_num_input_tokens_seen="non_padding",
    )
    trainer.train()
    for name in ("samples_per_second", "tokens_per_second", "targets_per_second"):
        assert len(column(trainer, name)) == 9  # eight steps, and the end
        assert min(column(trainer, name)) > 0
    rows = make_rows()
    tokens, targets = (
        sum(sum(value != IGNORED for value in row) for row in rows[name])
        for name in ("input_ids", "labels")
    )
    end = trainer.state.log_history[-1]
    share = end["targets_per_second"] / end["tokens_per_second"]
    assert share == pytest.approx(targets / tokens, rel=1e-2)
    assert trainer.state.num_input_tokens_seen == 2 * tokens


def test_validation_sees_the_models_own_attention(tmp_path: Path) -> None:
    model, seen = make_model(vocabulary=VOCABULARY), []

    def measure() -> dict[str, float]:
        seen.append(model.config._attn_implementation)
        return {"ndcg@10": 0.5}

    trainer = RecommenderTrainer(
        model,
        make_arguments(tmp_path, padding_free=True, eval_strategy="epoch"),
        train_dataset=make_rows(),
        eval_dataset=make_rows(1),
        processing_class=TOKENIZER,
        measure=measure,
    )
    used = []
    model.model.layers[0].register_forward_hook(
        lambda *_: used.append(model.config._attn_implementation)
    )
    trainer.train()
    assert seen == ["sdpa"] * 2
    assert set(used) == {PADDED_ATTENTION}


def test_trackers_are_told_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, float]] = []

    class Tracker(TrainerCallback):
        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            told.append(dict(logs))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "recorder", Tracker)
    model = make_model(vocabulary=VOCABULARY)
    make_trainer(tmp_path, model, max_steps=1).train()
    assert not told  # nobody is, unless asked for
    make_trainer(tmp_path, model, max_steps=1, report_to="recorder").train()
    assert {"loss", "tokens_per_second", "peak_memory_bytes"} <= told[0].keys()


@pytest.mark.parametrize(
    "settings", [{"label_smoothing_factor": 0.1}, {"loss_type": "dft"}], ids=str
)
def test_other_losses_are_left_to_trl(tmp_path: Path, settings: dict[str, Any]) -> None:
    model, rows = make_model(vocabulary=VOCABULARY), make_rows()
    trl = SFTTrainer(
        make_model(vocabulary=VOCABULARY),
        make_arguments(tmp_path, max_steps=2, **settings),
        train_dataset=rows,
        processing_class=TOKENIZER,
    )
    trl.train()
    trainer = make_trainer(tmp_path, model, max_steps=2, padding_free=True, **settings)
    trainer.train()
    assert column(trainer, "loss") == pytest.approx(column(trl, "loss"), abs=1e-4)
    with pytest.raises(
        UserError, match=f"level does not go with sft.trainer.{next(iter(settings))}"
    ):
        RecommenderTrainer(
            model,
            make_arguments(tmp_path, **settings),
            train_dataset=rows,
            processing_class=TOKENIZER,
            measure=dict,
            level_tokens=[torch.tensor([30, 31])],
        )


def test_a_model_that_would_mix_rows_gets_padded_batches(tmp_path: Path) -> None:
    model = make_model(vocabulary=VOCABULARY)
    model.config.layer_types = ["sliding_attention", "full_attention"]
    trainer = make_trainer(tmp_path, model, padding_free=True)
    assert not trainer.padding_free
    rows: list[Any] = [*make_rows(2)]
    assert "attention_mask" in trainer.data_collator(rows)
