"""RQ-KMeans+: residual k-means whose codebooks and vectors are refined together."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized
from recllm.data_prep.quantizers._sampled import SampledKMeans
from recllm.data_prep.quantizers._trained import TrainedQuantizer

if TYPE_CHECKING:
    from torch import nn


class RefinedResidualKMeans(TrainedQuantizer, SampledKMeans):
    """RQ-KMeans+ as GPR describes it (Zhang et al., 2025, arXiv:2511.10138).

    From the paper: the codebooks start as those of residual k-means and are trained with the loss
    of RQ-VAE; the encoder adds to each vector what a perceptron makes of it (a residual
    connection), so that the latent vectors stay close to the vectors.

    Ours, where the paper gives no detail: the perceptron's last layer starts at zero, so that
    training starts exactly at residual k-means; the decoder is another such refinement; vectors
    are scaled to a mean square of 1 first; a code that a whole epoch did not use moves to some
    item's residual, as in `rq-vae`; and all widths and figures.

    Items take the nearest codes in the latent space, in which the codebooks live.
    """

    epochs: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, description="of AdamW")

    def networks(self, width: int) -> "tuple[nn.Module, nn.Module]":
        """Two refinements; the latent vectors are as wide as the vectors."""
        from recllm.data_prep.quantizers._autoencoder import Refinement

        widths = [width, *self.hidden, width]
        return Refinement(widths), Refinement(widths)

    def fit(self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int) -> Quantized:
        """Train, and take the nearest codes, level by level."""
        from recllm.data_prep.quantizers._training import Training

        training = Training(
            make=lambda: self.networks(vectors.shape[1]),
            levels=levels,
            codes=codes,
            iterations=self.iterations,
            sample=self.sample,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            commitment=self.commitment,
        )
        return training.quantize(vectors, seed)
