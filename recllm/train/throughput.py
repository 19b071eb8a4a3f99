"""How fast a training goes, how much of the device it uses, and what memory it takes."""

import re
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

#: Dense operations a second in bfloat16 and float16 with sums in float32, from NVIDIA's data
#: sheets and architecture papers; a name stands before those that it begins with.
PEAK_OPERATIONS = {
    "B200": 2250e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 6000 Ada": 364e12,
    "RTX A6000": 154.8e12,
    "RTX 5090": 209.5e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}

#: What configurations of mixtures of experts call their number.
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def peak_operations(device_name: str) -> float | None:
    """The peak of a GPU in half precision; None where it is not known."""
    for name, peak in PEAK_OPERATIONS.items():
        if re.search(rf"\b{re.escape(name)}\b", device_name, re.IGNORECASE):
            return peak
    return None


@dataclass(frozen=True)
class Operations:
    """Multiplications and additions that training needs, forward and backward.

    The operations of model FLOPs utilisation, MFU (Chowdhery et al., "PaLM", 2022, appendix B):
    what the model needs, whatever an implementation computes twice. A weight of a matrix costs two
    operations a token forward, two for the gradient of its input, and two for its own where it is
    trained. As in FlashAttention-2 (Dao, 2023) a token is counted with the tokens before it alone,
    half of a row's pairs. The head is counted where there is a label.

    Attributes:
        token: of each token in the layers' matrices.
        pair: of each pair of tokens of a row, in attention.
        target: of each label in the head.
    """

    token: float
    pair: float
    target: float

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Operations | None":
        """From the model's layers and what is trained; None for mixtures of experts."""
        config: Any = model.config.get_text_config()
        if any(hasattr(config, name) for name in EXPERTS):
            return None
        decoder: Any = model.get_decoder()
        head: Any = model.get_output_embeddings()
        matrices = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)]
        attention = config.num_attention_heads * (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        return cls(
            token=sum(_of_matrix(m.in_features * m.out_features, m.weight) for m in matrices),
            pair=config.num_hidden_layers * 6 * attention,
            target=_of_matrix(config.vocab_size * config.hidden_size, head.weight),
        )

    def count(self, tokens: float, pairs: float, targets: float) -> float:
        """Of so many tokens, pairs of tokens in a row, and labels."""
        return self.token * tokens + self.pair * pairs + self.target * targets


def _of_matrix(weights: int, weight: Tensor) -> float:
    return (6.0 if weight.requires_grad else 4.0) * weights


class Throughput(TrainerCallback):
    """Counts what is trained on, and times the steps without validation and checkpoints.

    Figures are of all processes together. On a GPU `mfu` is the share of its peak, in half
    precision alone; there is no peak to compare a CPU with.
    """

    def __init__(self, model: PreTrainedModel, accelerator: Accelerator) -> None:
        """Count for a model on the accelerator's device."""
        self._accelerator = accelerator
        device = accelerator.device
        self._operations = Operations.of(model)
        half = accelerator.mixed_precision in {"bf16", "fp16"}
        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else ""
        self._peak = peak_operations(name) if half else None
        self._on_gpu = on_gpu
        # Samples, tokens, pairs of tokens, labels: since the last row of the log, and in all.
        self._recent = torch.zeros(4, dtype=torch.float64, device=device)
        self._all = torch.zeros_like(self._recent)
        self._recent_seconds = self._all_seconds = 0.0
        self._mark = time.monotonic()

    def count(self, inputs: dict[str, Any], targets: Tensor) -> None:
        """Add one batch of this process; nothing is waited for."""
        bounds = inputs.get("cu_seq_lens_q")
        lengths = inputs["attention_mask"].sum(dim=1) if bounds is None else bounds.diff()
        lengths = lengths.double()
        samples = torch.full_like(targets, len(lengths), dtype=torch.float64)
        pairs = lengths.square().sum()
        self._recent += torch.stack([samples, lengths.sum(), pairs, targets.double()])

    def recent(self) -> dict[str, float]:
        """The figures since the last call. Every process is to call it."""
        self._tick()
        return self._figures(*self._settle())

    def overall(self) -> dict[str, float]:
        """The figures since this process began to train. Every process is to call it."""
        self._settle()
        return self._figures(self._all.tolist(), self._all_seconds)

    def _settle(self) -> tuple[list[float], float]:
        """What was counted since the last call, by all processes, and the seconds it took."""
        counted = self._accelerator.reduce(self._recent, reduction="sum")
        assert isinstance(counted, Tensor)
        self._all += counted
        self._all_seconds += self._recent_seconds
        settled = counted.tolist(), self._recent_seconds
        self._recent.zero_()
        self._recent_seconds = 0.0
        return settled

    def _figures(self, counted: list[float], seconds: float) -> dict[str, float]:
        samples, tokens, pairs, targets = counted
        figures: dict[str, float] = {}
        if seconds > 0 and samples:
            figures["samples_per_second"] = round(samples / seconds, 3)
            figures["tokens_per_second"] = round(tokens / seconds, 1)
            figures["targets_per_second"] = round(targets / seconds, 1)
            if self._operations is not None and self._peak is not None:
                rate = self._operations.count(tokens, pairs, targets) / seconds
                figures["mfu"] = round(rate / self._peak / self._accelerator.num_processes, 4)
        return figures | self._peak_memory()

    def _peak_memory(self) -> dict[str, float]:
        """The most that one process has held: resident memory, and what torch had on its GPU."""
        held = {"peak_memory_bytes": peak_resident_memory()}
        if self._on_gpu:
            held["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated(
                self._accelerator.device
            )
        each = torch.tensor([list(held.values())], device=self._accelerator.device)
        most = self._accelerator.gather(each)
        assert isinstance(most, Tensor)
        return dict(zip(held, most.amax(dim=0).tolist(), strict=True))

    def _tick(self, *, counts: bool = True) -> None:
        now = time.monotonic()
        if counts:
            self._recent_seconds += now - self._mark
        self._mark = now

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock."""
        del args, state, control
        self._tick(counts=False)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Time until here is training."""
        del args, state, control
        self._tick()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Time until here was validation."""
        del args, state, control
        self._tick(counts=False)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Time until here went into a checkpoint."""
        del args, state, control
        self._tick(counts=False)


def peak_resident_memory() -> int:
    """The most resident memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
