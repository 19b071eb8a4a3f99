"""What the layers keep, against what torch keeps; and when that is too much."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from small_models import make_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from recllm.train import activations
from recllm.train.activations import activation_bytes, activations_fit


def kept_bytes(model: Any, tokens: int, half: bool) -> int:
    """Of the storages that autograd holds when a forward pass ends, those that are not weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    context = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), context:
        hidden = model.get_decoder()(input_ids=torch.ones(1, tokens, dtype=torch.long))
    held = sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in weights)
    del hidden
    # autocast keeps copies of the weights in 16 bits, whatever the number of tokens
    copies = sum(p.numel() for p in model.model.layers.parameters()) * 2 if half else 0
    return held - copies


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
def test_the_estimate_is_near_what_is_kept(architecture: str, half: bool) -> None:
    config = AutoConfig.for_model(
        architecture, vocab_size=50, hidden_size=128, intermediate_size=512, head_dim=32,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    tokens = 512
    estimate = tokens * activation_bytes(model, half=half)
    assert 0.9 < estimate / kept_bytes(model, tokens, half) < 1.8


def test_the_longest_rows_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    model, gigabyte = make_model(), 10**9
    a_token = activation_bytes(model, half=False)
    lengths = [1] * 100 + [int(gigabyte / a_token)]
    for free, batch, fits in [(9, 1, True), (3, 1, False), (9, 50, True)]:
        monkeypatch.setattr(activations, "_free_memory", lambda _, free=free: free * gigabyte)
        assert activations_fit(model, lengths, batch, half=False) == fits
    longer = [*lengths, lengths[-1] * 3]
    monkeypatch.setattr(activations, "_free_memory", lambda _: 9 * gigabyte)
    assert activations_fit(model, longer[:-1], 2, half=False)
    assert not activations_fit(model, longer, 2, half=False)
    assert activations_fit(model, longer, 2, half=True)


def test_memory_is_shared_by_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    alone = activations._free_memory(device)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert activations._free_memory(device) == pytest.approx(alone / 2, rel=0.2)
