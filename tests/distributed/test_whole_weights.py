"""The whole weights of a sharded model, in processes that hold parts of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import ENVIRONMENT
from transformers import AutoConfig, AutoModelForCausalLM

from recllm.train.whole_weights import Skeleton

#: Run in each of two processes: FSDP2 on the CPU, a step, and the weights of all processes.
SCRIPT = """
import torch, torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from test_whole_weights import build, logits
from recllm.train.whole_weights import Skeleton

dist.init_process_group("gloo")
for tied in (True, False):
    model, plain = build(tied), build(tied)
    skeleton = Skeleton(model)
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    with torch.no_grad():  # as an optimizer would, on each part by itself
        for trained, reference in zip(model.parameters(), plain.parameters(), strict=True):
            trained.add_(0.5)
            reference.add_(0.5)
    keep = dist.get_rank() == 0
    assert (skeleton.filled_from(model, keep=keep) is not None) == keep
    whole = skeleton.filled_from(model)
    assert not any(isinstance(p, DTensor) for p in whole.parameters())
    assert torch.equal(logits(whole), logits(plain))
    assert (whole.lm_head.weight is whole.model.embed_tokens.weight) == tied
dist.destroy_process_group()
print("whole", flush=True)
"""


def build(tied: bool) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen3", vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, tie_word_embeddings=tied,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(10)[None]).logits


@pytest.mark.parametrize("tied", [True, False])
def test_a_skeleton_is_filled_with_the_weights_of_now(tied: bool) -> None:
    model = build(tied)
    skeleton = Skeleton(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)
    filled: Any = skeleton.filled_from(model)
    assert torch.equal(logits(filled), logits(model))
    assert (filled.lm_head.weight is filled.model.embed_tokens.weight) == tied
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
    assert filled.model.embed_tokens.weight.any()  # a copy, not a view
    assert skeleton.filled_from(model, keep=False) is None
    half = skeleton.filled_from(model, dtype=torch.bfloat16)
    assert half is not None and {p.dtype for p in half.parameters()} == {torch.bfloat16}


@pytest.mark.slow
def test_fsdp2_gives_whole_weights_to_each_process_or_to_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]
    script.write_text(f"import sys; sys.path += {folders!r}\n{SCRIPT}")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(script)]
    done = subprocess.run(
        command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("whole") == 2
