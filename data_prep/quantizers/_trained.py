"""What the quantizers that train an autoencoder have in common."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantizer

if TYPE_CHECKING:
    from torch import nn


class TrainedQuantizer(Quantizer):
    """Base of these quantizers: their options, and new vectors through the trained encoder."""

    hidden: list[int] = Field(
        default=[512, 256, 128], min_length=1, description="widths of the encoder's layers"
    )
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=1024, ge=1)
    learning_rate: float = Field(gt=0, description="of AdamW")
    commitment: float = Field(default=0.25, ge=0, description="weight of that loss, beta")

    @abstractmethod
    def networks(self, width: int) -> "tuple[nn.Module, nn.Module]":
        """Encoder and decoder with random weights, for vectors of so many dimensions."""

    def represent(
        self, vectors: NDArray[np.float32], state: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float32]:
        """What the trained encoder makes of the vectors, scaled as it was trained."""
        from recllm.data_prep.quantizers import _training

        return _training.encode(vectors, lambda: self.networks(vectors.shape[1]), state)
