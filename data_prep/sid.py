"""The sid stage: a semantic ID of its own for each item."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences
from recllm.catalog.items import Items
from recllm.catalog.resolution import resolve_collisions
from recllm.catalog.sids import SidIndex
from recllm.data_prep.embed import read_vectors
from recllm.data_prep.sid_health import check_health, measure_health

SIDS_FILE = "sids.parquet"
CODEBOOKS_FILE = "codebooks.safetensors"
HEALTH_FILE = "health.json"


class Sid(Stage):
    """Quantizes the vectors and resolves collisions.

    Writes `sids.parquet` (see SidIndex), `codebooks.safetensors` (codebooks: (levels, K,
    dimensions) float32) and `health.json` (see SidHealth), unless the SIDs are not healthy.
    """

    name = "sid"
    parents = ("filter", "split", "embed")
    seeded = True

    def settings(self) -> dict[str, Any]:
        """The quantizer, its options, the shape of a SID, and the limits that it must keep."""
        section = self.recipe.sid
        return {
            "quantizer": section.quantizer.name,
            "options": section.quantizer.model_dump(mode="json"),
            "levels": section.levels,
            "codes": section.codes,
            "health": section.health.model_dump(mode="json"),
        }

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the SIDs, the codebooks and the health report.

        Raises:
            UserError: the vectors cannot be quantized, there are fewer SIDs than items, or a
                limit of `sid.health` is crossed.
        """
        from safetensors.numpy import save_file

        section = self.recipe.sid
        items = Items.read(inputs["filter"] / "items.parquet")
        vectors = read_vectors(inputs["embed"])
        quantized = section.quantizer.quantize(
            vectors, section.levels, section.codes, self.recipe.seed
        )
        resolution = resolve_collisions(quantized.codes, vectors, quantized.codebooks)
        trained_on = Sequences.read(inputs["split"]).training.flatten()[1]
        traffic = np.bincount(trained_on, minlength=len(items))
        health = measure_health(quantized, resolution, vectors, traffic)
        check_health(health, section.health)
        SidIndex(items.ids, resolution.codes, section.codes).write(out / SIDS_FILE)
        save_file({"codebooks": quantized.codebooks}, out / CODEBOOKS_FILE)
        health.write(out / HEALTH_FILE)
        return {
            "items": len(items),
            "distinct_before_resolution": health.distinct_before,
            "moved": health.moved,
            "moved_to_another_prefix": health.moved_prefix,
        }
