"""An autoencoder whose latent vector is a sum of codebook rows (RQ-VAE).

The loss is that of van den Oord et al. (2017), over the levels of residual quantization (Lee et
al., 2022): the squared error of the decoded vector, that of the codebook rows, and `commitment`
times that of the latent vectors. The decoder's gradient passes straight through the quantization.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding, mse_loss

from recllm.data_prep.quantizers._kmeans import blocks, nearest, to_tensor
from recllm.data_prep.quantizers._sinkhorn import Evenly


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers from width to width, with ReLU between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Refinement(nn.Module):
    """The input plus what a perceptron makes of it, whose last layer starts at zero."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.change = perceptron(widths)
        for weights in self.change[-1].parameters():
            nn.init.zeros_(weights)

    def forward(self, vectors: Tensor) -> Tensor:
        """(rows, width) to (rows, width)."""
        return vectors + self.change(vectors)


class ResidualQuantizedAutoencoder(nn.Module):
    """Encoder, decoder, and between them the codebooks of the levels: (codes, latent) each."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.codebooks = nn.ParameterList()  # set when the encoder can be asked

    def loss(
        self, vectors: Tensor, commitment: float, evenly: Evenly | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The loss on a batch, and the codes of each level, (rows,) each.

        Args:
            evenly: how the last level's codes are chosen; None: the nearest.
        """
        latents = self.encoder(vectors)
        left, total, chosen = latents, vectors.new_zeros(()), []
        for level, codebook in enumerate(self.codebooks):
            last = level == len(self.codebooks) - 1
            choose = evenly if evenly and last else nearest_codes
            chosen.append(choose(left.detach(), codebook.detach()))
            rows = embedding(chosen[-1], codebook)
            total = total + mse_loss(rows, left.detach())
            total = total + commitment * mse_loss(left, rows.detach())
            left = left - rows.detach()
        quantized = latents - left.detach()  # the sum of the rows, with the latents' gradient
        return mse_loss(self.decoder(quantized), vectors) + total / len(chosen), chosen

    @torch.no_grad()
    def revive(self, used: Sequence[Tensor], vectors: Tensor, generator: torch.Generator) -> None:
        """Put each code that is not used onto what its level has to quantize of some vector.

        Args:
            used: for each level (codes,), which of them are.
            vectors: a batch.
        """
        left = self.encoder(vectors)
        for codebook, alive in zip(self.codebooks, used, strict=True):
            dead = torch.nonzero(~alive).flatten()
            if len(dead):
                drawn = torch.randint(len(left), (len(dead),), generator=generator)
                codebook[dead] = left[drawn.to(left.device)]
            left = left - codebook[nearest_codes(left, codebook)]

    @torch.no_grad()
    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The latent vectors: (items, latent)."""
        device = next(self.parameters()).device
        parts = [
            self.encoder(to_tensor(vectors[rows], device)).cpu().numpy()
            for rows in blocks(len(vectors), vectors.shape[1])
        ]
        return np.concatenate(parts)


def nearest_codes(points: Tensor, codebook: Tensor) -> Tensor:
    """The code of each point, (rows,)."""
    return nearest(points, codebook)[0]
