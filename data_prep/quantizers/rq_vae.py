"""RQ-VAE: residual quantization of what a trained encoder makes of the vectors."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized
from recllm.data_prep.quantizers._trained import TrainedQuantizer

if TYPE_CHECKING:
    from torch import nn

#: Items whose latent vectors start the codebooks.
INITIAL_SAMPLE = 65536


class ResidualQuantizedVae(TrainedQuantizer):
    """Codebooks trained together with an encoder and a decoder, as in TIGER (Rajput et al., 2023).

    The loss is in `_autoencoder`. The codebooks start as the residual k-means of the untrained
    encoder's latent vectors, and a code that a whole epoch did not use moves to some item's
    residual. Items take the nearest codes in the latent space, in which the codebooks live.
    Vectors are scaled to a mean square of 1 first. The decoder is the encoder reversed.

    The widths are TIGER's. For catalogues of some 10,000 items, LC-Rec (Zheng et al., 2024) and
    MiniOneRec (Kong et al., 2025) set hidden [2048, 1024, 512, 256, 128, 64], batch_size 1024 or
    2048 and epochs 5000 to 10000, which takes a GPU; latent, learning_rate, commitment and
    iterations are theirs too. LC-Rec sets sinkhorn_epsilon 0.003, MiniOneRec 0.
    """

    latent: int = Field(default=32, ge=1, description="width of the codebooks")
    epochs: int = Field(default=500, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, description="of AdamW")
    iterations: int = Field(default=100, ge=1, description="of the k-means at the start, a level")
    sinkhorn_epsilon: float = Field(
        default=0.0, ge=0, description="above 0: training uses the last level's codes evenly"
    )
    sinkhorn_iterations: int = Field(default=50, ge=1)

    def networks(self, width: int) -> "tuple[nn.Module, nn.Module]":
        """Two perceptrons, from the vectors' width to `latent` and back."""
        from recllm.data_prep.quantizers._autoencoder import perceptron

        widths = [width, *self.hidden, self.latent]
        return perceptron(widths), perceptron(widths[::-1])

    def fit(self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int) -> Quantized:
        """Train, and take the nearest codes, level by level."""
        from recllm.data_prep.quantizers._sinkhorn import Evenly
        from recllm.data_prep.quantizers._training import Training

        evenly = Evenly(self.sinkhorn_epsilon, self.sinkhorn_iterations)
        training = Training(
            make=lambda: self.networks(vectors.shape[1]),
            levels=levels,
            codes=codes,
            iterations=self.iterations,
            sample=INITIAL_SAMPLE,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            commitment=self.commitment,
            evenly=evenly if self.sinkhorn_epsilon > 0 else None,
        )
        return training.quantize(vectors, seed)
