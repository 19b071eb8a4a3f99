"""RQ-KMeans+: residual k-means whose codebooks and vectors are refined together."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized, Quantizer
from recllm.data_prep.quantizers._vectors import check_vectors


class RefinedResidualKMeans(Quantizer):
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

    hidden: list[int] = Field(
        default=[512, 256, 128], min_length=1, description="widths of the perceptrons"
    )
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, description="of AdamW")
    commitment: float = Field(default=0.25, ge=0, description="weight of that loss, beta")
    iterations: int = Field(default=20, ge=1, description="of k-means, a level")
    sample: int | None = Field(
        default=65536, ge=2, description="items that k-means is fitted on; null: all"
    )

    def quantize(
        self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int
    ) -> Quantized:
        """Train, and give each row of `vectors` (items, dimensions) its codes.

        Raises:
            UserError: the vectors are not finite, or all the same.
        """
        from recllm.data_prep.quantizers._autoencoder import Refinement
        from recllm.data_prep.quantizers._training import Training

        check_vectors(vectors)
        widths = [vectors.shape[1], *self.hidden, vectors.shape[1]]
        training = Training(
            make=lambda: (Refinement(widths), Refinement(widths)),
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
