"""The embed stage: a vector for each item."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences
from recllm.catalog.items import Items
from recllm.data_prep.encoders import Encoder, EncoderInput

VECTORS_FILE = "vectors.safetensors"


class Embed(Stage):
    """Encodes the catalogue into `vectors.safetensors`: vectors (items, dimensions) float32.

    The encoder sees the items and the training part of the sequences, nothing later.
    """

    name = "embed"
    parents = ("filter", "split")
    seeded = True

    def settings(self) -> dict[str, Any]:
        """The encoder, its options, and the width asked for."""
        section = self.recipe.embed
        return {
            "encoder": section.encoder.name,
            "options": section.encoder.model_dump(mode="json"),
            "dimensions": section.dimensions,
        }

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the vectors; count the items and those that the encoder knows nothing about."""
        from safetensors.numpy import save_file

        items = Items.read(inputs["filter"] / "items.parquet")
        sequences = Sequences.read(inputs["split"]).training_sequences()
        section = self.recipe.embed
        given = EncoderInput(items, sequences, section.dimensions, self.recipe.seed)
        vectors = _checked(section.encoder, given)
        save_file({"vectors": vectors}, out / VECTORS_FILE)
        return {
            "items": len(items),
            "dimensions": vectors.shape[1],
            "training_interactions": sum(map(len, sequences)),
            "zero_vectors": int((~vectors.any(axis=1)).sum()),
        }


def read_vectors(folder: Path) -> NDArray[np.float32]:
    """The vectors that the embed stage wrote into `folder`: (items, dimensions) float32."""
    from safetensors.numpy import load_file

    return load_file(folder / VECTORS_FILE)["vectors"]


def _checked(encoder: Encoder, given: EncoderInput) -> NDArray[np.float32]:
    """What the encoder gives, held to what every encoder promises."""
    vectors = np.ascontiguousarray(encoder.encode(given), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(given.items):
        raise ValueError(
            f"encoder {encoder.name!r}: expected one row for each of {len(given.items)} items, "
            f"found shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise ValueError(f"encoder {encoder.name!r}: expected finite vectors, found NaN or inf")
    return vectors
