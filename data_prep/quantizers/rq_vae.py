"""RQ-VAE: residual quantization of what a trained encoder makes of the vectors."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized, Quantizer
from recllm.data_prep.quantizers._vectors import check_vectors

#: Items whose latent vectors start the codebooks.
INITIAL_SAMPLE = 65536


class ResidualQuantizedVae(Quantizer):
    """Codebooks trained together with an encoder and a decoder, as in TIGER (Rajput et al., 2023).

    The loss is in `_autoencoder`. The codebooks start as the residual k-means of the untrained
    encoder's latent vectors, and a code that a whole epoch did not use moves to some item's
    residual. Items take the nearest codes in the latent space, in which the codebooks live.
    Vectors are scaled to a mean square of 1 first.

    The widths are TIGER's. For catalogues of some 10,000 items, LC-Rec (Zheng et al., 2024) and
    MiniOneRec (Kong et al., 2025) set hidden [2048, 1024, 512, 256, 128, 64], batch_size 1024 or
    2048 and epochs 5000 to 10000, which takes a GPU; latent, learning_rate, commitment and
    iterations are theirs too. LC-Rec sets sinkhorn_epsilon 0.003, MiniOneRec 0.
    """

    hidden: list[int] = Field(
        default=[512, 256, 128], min_length=1, description="widths of the encoder; the decoder's"
        " are the same, reversed"
    )  # fmt: skip
    latent: int = Field(default=32, ge=1, description="width of the codebooks")
    epochs: int = Field(default=500, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, description="of AdamW")
    commitment: float = Field(default=0.25, ge=0, description="weight of that loss, beta")
    iterations: int = Field(default=100, ge=1, description="of the k-means at the start, a level")
    sinkhorn_epsilon: float = Field(
        default=0.0, ge=0, description="above 0: training uses the last level's codes evenly"
    )
    sinkhorn_iterations: int = Field(default=50, ge=1)

    def quantize(
        self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int
    ) -> Quantized:
        """Train, and give each row of `vectors` (items, dimensions) its codes.

        Raises:
            UserError: the vectors are not finite, or all the same.
        """
        from recllm.data_prep.quantizers._autoencoder import perceptron
        from recllm.data_prep.quantizers._sinkhorn import Evenly
        from recllm.data_prep.quantizers._training import Training

        check_vectors(vectors)
        widths = [vectors.shape[1], *self.hidden, self.latent]
        evenly = Evenly(self.sinkhorn_epsilon, self.sinkhorn_iterations)
        training = Training(
            make=lambda: (perceptron(widths), perceptron(widths[::-1])),
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
