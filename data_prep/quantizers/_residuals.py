"""What levels of codes have left of the vectors, without a copy of them all."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.data_prep.quantizers._kmeans import blocks, to_tensor


@dataclass
class Residuals:
    """Vectors less the centroids that they were given so far, computed where they are read.

    Attributes:
        vectors: (items, dimensions), in main memory.
        device: where residuals are wanted.
        codebooks: the centroids of each level so far.
        codes: of each level so far, (items,) each.
    """

    vectors: NDArray[np.float32]
    device: torch.device
    codebooks: list[Tensor] = field(default_factory=list)
    codes: list[Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        """Those of some rows: (rows, dimensions)."""
        wanted = rows if isinstance(rows, slice) else rows.cpu().numpy()
        left = to_tensor(self.vectors[wanted], self.device)
        for centroids, codes in zip(self.codebooks, self.codes, strict=True):
            left -= centroids[codes[rows]]
        return left

    def gathered(self, rows: Tensor) -> Tensor:
        """Those of many rows, without a second copy of them on the way."""
        result = torch.empty(len(rows), self.vectors.shape[1], device=self.device)
        for part in blocks(len(rows), self.vectors.shape[1]):
            result[part] = self[rows[part]]
        return result

    def add_level(self, centroids: Tensor, codes: Tensor) -> None:
        """Take away one more level."""
        self.codebooks.append(centroids)
        self.codes.append(codes)
