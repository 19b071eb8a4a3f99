"""Fusion: several encoders side by side, each with a weight."""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from recllm.config.plugins import ENCODERS
from recllm.config.registry import unknown_name
from recllm.data_prep.encoders import Encoder, EncoderInput


class Fusion(Encoder):
    """The vectors of several encoders, concatenated.

    Each part is brought to a mean squared row length of 1 and multiplied by the square root of
    its weight: the weights are the parts' shares in squared distances, which is what k-means
    looks at. A part is any other encoder, with its default options and the recipe's dimensions.
    """

    parts: dict[str, float] = Field(
        default={"lsa": 1.0, "cooccurrence": 1.0}, min_length=1, description="encoder: weight"
    )

    @field_validator("parts")
    @classmethod
    def _parts_can_be_fused(cls, parts: dict[str, float]) -> dict[str, float]:
        canonical = {name.replace("_", "-"): weight for name, weight in parts.items()}
        if len(canonical) < len(parts):
            raise ValueError(f"expected each part once, found {', '.join(parts)}")
        known = [name for name in ENCODERS.names() if name != cls.name]
        for name, weight in canonical.items():
            if name not in known:
                raise ValueError(unknown_name("part", name, known))
            if not (weight > 0 and math.isfinite(weight)):
                raise ValueError(f"the weight of part {name!r} must be above 0, found {weight}")
            fields = ENCODERS.load(name).model_fields
            required = [field for field, info in fields.items() if info.is_required()]
            if required:
                raise ValueError(
                    f"{name!r} cannot be a part: it has no default for {', '.join(required)}"
                )
        return canonical

    def encode(self, given: EncoderInput) -> NDArray[np.float32]:
        """One row for each item: (items, sum of the parts' widths), parts sorted by name."""
        columns = []
        for name in sorted(self.parts):
            vectors = ENCODERS.load(name)().encode(given)
            columns.append(math.sqrt(self.parts[name]) * _unit_mean_square(vectors))
        return np.concatenate(columns, axis=1)


def _unit_mean_square(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors scaled so that the mean of their squared lengths is 1; zero stays zero."""
    mean_square = np.square(vectors, dtype=np.float64).sum() / max(len(vectors), 1)
    return (vectors / math.sqrt(mean_square)).astype(np.float32) if mean_square else vectors
