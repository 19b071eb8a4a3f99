"""The embed stage: a vector for each item."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences
from recllm.catalog.items import Items
from recllm.config.schema import Recipe
from recllm.data_prep.encoders import Encoded, Encoder, EncoderInput
from recllm.errors import UserError

VECTORS_FILE = "vectors.safetensors"
STATE_FILE = "encoder.safetensors"
#: In `cache_dir`: what encoders keep for other runs.
ENCODER_CACHE = "encoders"


class Embed(Stage):
    """Encodes the catalogue into `vectors.safetensors`: vectors (items, dimensions) float32.

    The encoder sees the items and the training part of the sequences, nothing later. What it
    needs to encode new items in the same way is in `encoder.safetensors`.
    """

    name = "embed"
    version = 2  # writes the encoder's state
    parents = ("filter", "split")
    seeded = True

    def settings(self) -> dict[str, Any]:
        """The encoder, its options, and the width asked for."""
        section = self.recipe.embed
        return {
            "encoder": section.encoder.name,
            "options": self._options,
            "dimensions": section.dimensions,
        }

    @cached_property
    def _options(self) -> dict[str, Any]:
        return self.recipe.embed.encoder.settings()

    def check(self) -> None:
        """Refuse what the encoder refuses."""
        self.recipe.embed.encoder.check()

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the vectors; count the items and those that the encoder knows nothing about."""
        from safetensors.numpy import save_file

        items = Items.read(inputs["filter"] / "items.parquet")
        sequences = Sequences.read(inputs["split"]).training_sequences()
        section = self.recipe.embed
        cache = self.recipe.cache_dir / ENCODER_CACHE
        given = EncoderInput(items, sequences, section.dimensions, self.recipe.seed, cache)
        encoded = section.encoder.encode(given)
        vectors = _checked(section.encoder, encoded, len(items))
        save_file({"vectors": vectors}, out / VECTORS_FILE)
        state = {name: np.ascontiguousarray(array) for name, array in encoded.state.items()}
        save_file(state, out / STATE_FILE)
        return {
            "items": len(items),
            "dimensions": vectors.shape[1],
            "training_interactions": sum(map(len, sequences)),
            "zero_vectors": int((~vectors.any(axis=1)).sum()),
            **encoded.counts,
        }


def read_vectors(folder: Path) -> NDArray[np.float32]:
    """The vectors that the embed stage wrote into `folder`: (items, dimensions) float32."""
    from safetensors.numpy import load_file

    return load_file(folder / VECTORS_FILE)["vectors"]


def encode_new(recipe: Recipe, items: Items, folder: Path) -> Encoded:
    """Encode items that are not in the catalogue, as those in the embed stage's `folder` were.

    Raises:
        UserError: the recipe's encoder cannot, or gives vectors that do not compare with the old.
    """
    from safetensors import safe_open
    from safetensors.numpy import load_file

    encoder, cache = recipe.embed.encoder, recipe.cache_dir / ENCODER_CACHE
    encoded = encoder.encode_new(items, load_file(folder / STATE_FILE), cache)
    vectors = _checked(encoder, encoded, len(items))
    with safe_open(folder / VECTORS_FILE, framework="numpy") as opened:
        width = opened.get_slice("vectors").get_shape()[1]
    if vectors.shape[1] != width:
        raise UserError(
            f"the encoder {encoder.name} gives new items vectors of {vectors.shape[1]} dimensions, "
            f"the old ones have {width}: its model or file is another one than before"
        )
    return Encoded(vectors, counts=encoded.counts)


def _checked(encoder: Encoder, encoded: Encoded, items: int) -> NDArray[np.float32]:
    """What the encoder gives, held to what every encoder promises."""
    vectors = np.ascontiguousarray(encoded.vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != items:
        raise ValueError(
            f"encoder {encoder.name!r}: expected one row for each of {items} items, "
            f"found shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise ValueError(f"encoder {encoder.name!r}: expected finite vectors, found NaN or inf")
    return vectors
