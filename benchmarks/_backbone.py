"""Random backbones in the shape of real ones, and the operations that decoding costs them."""

from dataclasses import dataclass
from typing import Any

import torch

from benchmarks._harness import median_seconds


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen2 model with tied embeddings."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    key_value_heads: int = 2

    @property
    def layer_weights(self) -> int:
        """Weights of the matrices in all layers: two operations each a token."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden * (self.hidden + self.key_value_heads * head)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)


QWEN_05B = Shape(24, 896, 14, 4864, 151_936)
QWEN_15B = Shape(28, 1536, 12, 8960, 151_936)
#: Small enough to measure the peer in many cases.
FOUR_LAYERS = Shape(4, 256, 4, 1024, 32_000)
TINY = Shape(2, 64, 4, 128, 2_000)


def make_model(
    shape: Shape, new_tokens: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Any:
    """A random Qwen2 model in eval mode, its vocabulary extended by `new_tokens`."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=shape.vocabulary + new_tokens,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=True,
    )
    model: Any = Qwen2ForCausalLM(config).eval()
    return model.to(device=device, dtype=dtype)


def engine_operations(shape: Shape, prompt: int, beams: int, levels: int, codes: int) -> float:
    """Multiplications and additions that ranking one user needs with `vocab` scoring.

    Those of the weights: the attention's own products are left out, a few percent.
    """
    widths = [min(beams, codes**level) for level in range(levels)]  # the prompt's last token first
    tokens = prompt + sum(widths[1:])
    head = sum(widths) * shape.hidden * shape.vocabulary
    return 2.0 * (tokens * shape.layer_weights + head)


def peak_operations(device: str, dtype: torch.dtype) -> float:
    """Operations a second of the device's own product of large square matrices."""
    size = 4096 if device != "cpu" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> float:
        products = [left @ right for _ in range(10)]
        return float(products[-1][0, 0])  # waits for the device

    return 10 * 2.0 * size**3 / median_seconds(multiply)
