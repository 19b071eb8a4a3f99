"""What is counted, timed and compared with a GPU's peak."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from small_models import make_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from recllm.train import throughput
from recllm.train.supervised_loss import VocabLoss, add_loss
from recllm.train.throughput import Operations, Throughput, peak_operations

STEP: Any = (None, None, None)


@pytest.mark.parametrize("tied", [True, False])
def test_operations_are_those_that_torch_counts(tied: bool) -> None:
    model = make_model("qwen3", tied=tied)
    model.set_attn_implementation("eager")
    add_loss(model, VocabLoss())
    ids = torch.randint(1, 40, (3, 16))
    labels = ids.masked_fill(torch.rand(ids.shape) < 0.7, -100)
    with FlopCounterMode(display=False) as counter:
        outcome: Any = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, supervised_only=True
        )
        outcome["loss"].backward()
    operations = Operations.of(model)
    assert operations is not None
    # torch counts the pairs that the mask hides too: twice as many, but for the diagonal
    expected = operations.count(3 * 16, 2 * 3 * 16**2, int(outcome["count"]))
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_weights_that_are_not_trained_need_no_gradient() -> None:
    model = make_model()
    whole = Operations.of(model)
    model.requires_grad_(False)
    frozen = Operations.of(model)
    assert whole is not None and frozen is not None
    assert frozen.token == whole.token * 4 / 6
    assert frozen.target == whole.target * 4 / 6


def test_mixtures_of_experts_have_no_figure() -> None:
    model = make_model()
    model.config.num_experts = 8
    assert Operations.of(model) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA RTX A6000", 154.8e12),
        ("AMD EPYC", None),
        ("", None),
    ],
)
def test_peaks_go_by_the_name_of_the_device(name: str, peak: float | None) -> None:
    assert peak_operations(name) == peak


class Clock:
    """Seconds that pass only when told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    passing = Clock()
    monkeypatch.setattr(throughput, "time", passing)
    return passing


def batch(padding_free: bool, *lengths: int) -> dict[str, Any]:
    rows = [{"input_ids": [1] * length, "labels": [1] * length} for length in lengths]
    return DataCollatorForLanguageModeling(0, padding_free=padding_free)(rows)


def start(model: PreTrainedModel) -> Throughput:
    counter = Throughput(model, Accelerator(cpu=True))
    counter.on_train_begin(*STEP)
    return counter


@pytest.mark.parametrize("padding_free", [True, False])
def test_rates_are_of_the_steps_alone(clock: Clock, padding_free: bool) -> None:
    clock.now = 100.0  # loading the model, say
    counter = start(make_model())
    for _ in range(2):
        counter.count(batch(padding_free, 3, 5), torch.tensor(4))
        clock.now += 2.0
        counter.on_step_end(*STEP)
    first = counter.recent()
    rates = {"samples_per_second": 1.0, "tokens_per_second": 4.0, "targets_per_second": 2.0}
    assert rates.items() <= first.items()
    assert "mfu" not in first  # of a CPU
    clock.now += 50.0
    counter.on_evaluate(*STEP)
    clock.now += 50.0
    counter.on_save(*STEP)
    counter.count(batch(padding_free, 8), torch.tensor(2))
    clock.now += 1.0
    counter.on_step_end(*STEP)
    assert counter.recent()["tokens_per_second"] == 8.0
    clock.now += 50.0  # the best checkpoint is loaded
    assert counter.overall()["tokens_per_second"] == pytest.approx(24 / 5, abs=0.1)
    assert counter.overall()["samples_per_second"] == pytest.approx(1.0)


def test_mfu_is_the_share_of_the_peak(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    operations = Operations.of(model)
    assert operations is not None
    monkeypatch.setattr(throughput, "peak_operations", lambda _: 1e6)
    monkeypatch.setattr(Accelerator, "mixed_precision", "bf16")
    counter = start(model)
    counter.count(batch(True, 3, 5), torch.tensor(4))
    clock.now += 10.0
    needed = operations.token * 8 + operations.pair * (9 + 25) + operations.target * 4
    assert counter.recent()["mfu"] == pytest.approx(needed / 1e7, abs=1e-4)


def test_no_steps_have_no_rate_but_memory() -> None:
    figures = start(make_model()).recent()
    assert set(figures) == {"peak_memory_bytes"}
    assert figures["peak_memory_bytes"] > 2**26  # torch is loaded
