"""How much of a GPU's memory a training needs at least: arithmetic on sizes, nothing is built."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from recllm.config.model_section import QUANTISED, WITH_LORA, Tuning

GIB = 2**30
#: Bytes of a weight: float32, bfloat16, LLM.int8, and NF4 with what double quantisation adds.
FLOAT32, BFLOAT16, INT8, NF4 = 4.0, 2.0, 1.0, 0.516
#: Bytes that AdamW keeps for a trained weight: two moments in float32.
ADAMW = 8.0
#: How many numbers a layer holds at once for each token while its gradients are computed, in
#: multiples of the hidden size (norms, queries, keys, values, attention, residuals) and of the
#: MLP's width (gate, up, activation, product).
HIDDEN_COPIES, MLP_COPIES = 8, 4
#: The logits that TRL's loss holds at once: of so many tokens, for a part of the vocabulary.
LOSS_TOKENS, LOSS_VOCABULARY = 4096, 32_768


@dataclass(frozen=True)
class ModelSize:
    """The sizes of a causal language model.

    Attributes:
        table: weights of the embedding, and of the head where it has its own.
        linear: weights of the linear layers but the head.
        linear_ends: the sum over these layers of their inputs and outputs.
        other: all other weights.
    """

    table: int
    linear: int
    linear_ends: int
    other: int
    hidden: int
    mlp: int
    layers: int
    vocabulary: int

    @property
    def total(self) -> int:
        """All weights."""
        return self.table + self.linear + self.other


@dataclass(frozen=True)
class Job:
    """What is trained, and on how much at once.

    Attributes:
        rank: of LoRA.
        rows: of SID tokens that are trained beside LoRA, or alone.
        batch: training rows on a device at once.
        length: tokens of the longest training row.
        half: whether it computes in bfloat16, and what is not trained is kept so.
        checkpointing: whether a layer's activations are computed again for its gradients.
        optimizer: bytes that the optimiser keeps for each trained weight.
    """

    tuning: Tuning
    rank: int = 16
    rows: int = 0
    batch: int = 8
    length: int = 512
    half: bool = True
    checkpointing: bool = True
    optimizer: float = ADAMW


@dataclass(frozen=True)
class Memory:
    """Bytes: what they are for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimiser": self.optimizer,
            "activations": self.activations,
        }
        told = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())
        return f"{self.total / GIB:.1f} GiB ({told})"


def estimate(size: ModelSize, job: Job) -> Memory:
    """What a training needs at least: what the allocator wastes comes on top.

    Weights that an adapter leaves alone have their own precision, trained ones are float32, and
    so are their gradients. While rows of them are trained, embedding and head are copied with
    these rows in place, and the head's copy has a gradient, in float32. Attention needs no matrix
    of scores.
    """
    kept = BFLOAT16 if job.half else FLOAT32
    trained = trained_weights(size, job)
    copies = 0.0
    if job.tuning == "full":
        weights = FLOAT32 * size.total
        copies = kept * size.total if job.half else 0.0  # what mixed precision casts
    else:
        linear = {"qlora": NF4, "lora-8bit": INT8}.get(job.tuning, kept)
        weights = kept * (size.table + size.other) + linear * size.linear + FLOAT32 * trained
        matrix = size.vocabulary * size.hidden
        copies = (2 * kept + FLOAT32) * matrix if job.rows else 0.0
    return Memory(
        weights=weights,
        gradients=FLOAT32 * trained,
        optimizer=job.optimizer * trained,
        activations=copies + _activations(size, job, kept),
    )


def trained_weights(size: ModelSize, job: Job) -> int:
    """How many weights are trained."""
    if job.tuning == "full":
        return size.total
    tables = size.table // (size.vocabulary * size.hidden)
    lora = job.rank * size.linear_ends if job.tuning in WITH_LORA else 0
    return lora + job.rows * size.hidden * tables


def _activations(size: ModelSize, job: Job, kept: float) -> float:
    tokens = job.batch * job.length
    layer = HIDDEN_COPIES * size.hidden + MLP_COPIES * size.mlp
    held = size.layers * size.hidden + layer if job.checkpointing else size.layers * layer
    logits = min(tokens, LOSS_TOKENS) * min(size.vocabulary, LOSS_VOCABULARY)
    return kept * (tokens * held + logits)


def what_fits(size: ModelSize, job: Job, available: float) -> Iterator[tuple[Job, int]]:
    """Changes that would make a job fit, the smallest first.

    Yields:
        For this tuning, LoRA and QLoRA: the job with the largest batch that fits, and over how
        many steps gradients are to be accumulated for the same batch in all.
    """
    tunings: tuple[Tuning, ...] = ("lora", "qlora")
    for tuning in chain((job.tuning,), (t for t in tunings if t != job.tuning)):
        if job.tuning in QUANTISED and tuning == "lora":
            continue  # takes more
        changed, steps = replace(job, tuning=tuning), 1
        while estimate(size, changed).total > available and changed.batch > 1:
            changed = replace(changed, batch=changed.batch // 2)
            steps = -(-job.batch // changed.batch)
        if estimate(size, changed).total <= available:
            yield changed, steps


def model_size(config: Any, vocabulary: int) -> ModelSize:
    """The sizes of the model that a configuration describes, with so many tokens."""
    config = deepcopy(config)
    config.vocab_size = max(vocabulary, config.vocab_size)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tables = {id(module.weight): module.weight for module in (embedding, head)}
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    table = sum(weight.numel() for weight in tables.values())
    weights = sum(m.weight.numel() for m in linear)
    text = config.get_text_config(decoder=True)
    return ModelSize(
        table=table,
        linear=weights,
        linear_ends=sum(m.in_features + m.out_features for m in linear),
        other=sum(p.numel() for p in model.parameters()) - table - weights,
        hidden=text.hidden_size,
        mlp=getattr(text, "intermediate_size", 4 * text.hidden_size),
        layers=text.num_hidden_layers,
        vocabulary=text.vocab_size,
    )
