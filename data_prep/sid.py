"""The sid stage: a path of its own for each item, a semantic ID or its title."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.artifacts.manifest import hash_file
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences
from recllm.catalog.items import Items
from recllm.config.schema import Recipe
from recllm.data_prep.embed import read_vectors
from recllm.data_prep.quantizers import Indexer, IndexingInput
from recllm.data_prep.sid_health import check_health, measure_health

SIDS_FILE = "sids.parquet"
CODEBOOKS_FILE = "codebooks.safetensors"
STATE_FILE = "quantizer.safetensors"
HEALTH_FILE = "health.json"


class Sid(Stage):
    """Runs the recipe's indexing scheme on the catalogue and the training interactions.

    Writes `sids.parquet` (see ItemIndex), `health.json` (see SidHealth) and, where vectors were
    quantized, `codebooks.safetensors` (codebooks: (levels, K, dimensions) float32), unless the
    SIDs are not healthy. What else the scheme needs to place items that come later is in
    `quantizer.safetensors`. The stage embed is left out where the scheme needs no vectors.
    """

    name = "sid"
    version = 5  # k-means starts along principal axes
    seeded = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        vectors = ("embed",) if recipe.sid.quantizer.uses_vectors else ()
        self.parents = ("filter", "split", *vectors)

    def settings(self) -> dict[str, Any]:
        """The scheme, its options and files, the shape of a SID, and the limits to be kept."""
        section = self.recipe.sid
        scheme: Indexer = section.quantizer
        paths = {name for name, value in scheme if isinstance(value, Path)}
        return {
            "quantizer": scheme.name,
            "options": scheme.model_dump(mode="json", exclude=paths),
            "files": [[path.name, hash_file(path)] for path in scheme.input_files()],
            "levels": section.levels,
            "codes": section.codes,
            "health": section.health.model_dump(mode="json"),
        }

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the index and the health report.

        Raises:
            UserError: the scheme cannot index the catalogue, or a limit of `sid.health` is
                crossed.
        """
        from safetensors.numpy import save_file

        section = self.recipe.sid
        items = Items.read(inputs["filter"] / "items.parquet")
        sequences = Sequences.read(inputs["split"]).training
        given = IndexingInput(
            items=items,
            sequences=sequences,
            levels=section.levels,
            codes=section.codes,
            seed=self.recipe.seed,
            read_vectors=lambda: read_vectors(inputs["embed"]),
        )
        indexing = section.quantizer.index(given)
        has_categories = "categories" in items.columns
        categories = items.table["categories"].to_pylist() if has_categories else None
        health = measure_health(indexing, sequences, categories)
        check_health(health, section.health)
        indexing.index.write(out / SIDS_FILE)
        if indexing.codebooks is not None:
            save_file({"codebooks": indexing.codebooks}, out / CODEBOOKS_FILE)
        if indexing.state:
            state = {name: np.ascontiguousarray(a) for name, a in indexing.state.items()}
            save_file(state, out / STATE_FILE)
        health.write(out / HEALTH_FILE)
        return {
            "items": len(items),
            "distinct_before_resolution": health.distinct_before,
            "moved": health.moved,
            "moved_to_another_prefix": health.moved_prefix,
            **indexing.counts,
        }


def read_codebooks(folder: Path) -> NDArray[np.float32] | None:
    """The codebooks that the sid stage wrote into `folder`; None where there are none."""
    return _read(folder / CODEBOOKS_FILE).get("codebooks")


def read_state(folder: Path) -> dict[str, NDArray[Any]]:
    """What else the scheme has kept there for items that come later."""
    return _read(folder / STATE_FILE)


def _read(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return load_file(file) if file.is_file() else {}
