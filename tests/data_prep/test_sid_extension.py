"""Reading items that come later, and what the stage sid keeps for them."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import write_stages
from catalogues import item_table, random_sequences
from safetensors.numpy import save_file

from recllm.catalog.items import Items
from recllm.catalog.sids import read_index
from recllm.config.plugins import QUANTIZERS, SOURCES
from recllm.config.schema import HealthSection, Recipe, SidSection
from recllm.data_prep.quantizers import ExtensionInput
from recllm.data_prep.sid import STATE_FILE, Sid, read_codebooks, read_state
from recllm.data_prep.sid_extension import read_later_items
from recllm.errors import UserError

KNOWN = Items(
    pa.table(
        {
            "item": pa.array([0, 1], pa.int32()),
            "item_id": ["a", "b"],
            "title": ["A", "B"],
            "brand": ["Acme", None],
            "sid": ["<a_0>", "<a_1>"],
        }
    )
)
ROWS = [
    {"id": "c", "title": " The Sea ", "brand": "Acme", "price": 3},
    {"id": "b", "title": "another title", "brand": None, "price": 3},
    {"id": "d", "title": "", "brand": "", "price": None},
]


def make_recipe(source: str = "files", **options: Any) -> Recipe:
    if source == "files":
        options = {"path": "log.csv", "columns": {"item": "id"}} | options
    data = type("Data", (), {"source": SOURCES.load(source)(**options)})()
    return Recipe.model_construct(data=data)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".jsonl.gz", ".parquet"])
def test_what_a_file_has_beyond_the_catalogue(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"new{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif "json" in suffix:
        text = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
        path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    else:
        lines = [ROWS[0].keys(), *(row.values() for row in ROWS)]
        between = "\t" if suffix == ".tsv" else ","
        path.write_text(
            "".join(
                between.join("" if v is None else str(v) for v in line) + "\n" for line in lines
            )
        )
    found = read_later_items(make_recipe(), path, KNOWN, tmp_path)
    assert found.items.table.to_pylist() == [
        {"item": 2, "item_id": "c", "title": "The Sea", "brand": "Acme", "sid": None},
        {"item": 3, "item_id": "d", "title": "d", "brand": None, "sid": None},
    ]
    assert found.items.table.schema == KNOWN.table.schema
    # The price is no column of items, for any source.
    assert found.counts == {"items": 2, "known": 1, "titled_by_id": 1, "columns_passed_over": 0}


def test_other_sources_take_the_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("item_id,title,description\nz,Zed,long\n")
    found = read_later_items(make_recipe("simulated"), path, KNOWN, tmp_path)
    assert found.items.ids == ["z"]
    assert found.counts["columns_passed_over"] == 1
    with pytest.raises(UserError, match="expected a column 'id'"):
        read_later_items(make_recipe(columns={"item_id": "id"}), path, KNOWN, tmp_path)


def test_rows_are_set_aside_as_the_recipe_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,title\nx,X\n,none\ny,Y\n")
    with pytest.raises(UserError, match="item without id"):
        read_later_items(make_recipe(), path, KNOWN, tmp_path)
    found = read_later_items(make_recipe(max_reject_rate=0.5), path, KNOWN, tmp_path)
    assert found.items.ids == ["x", "y"]
    assert found.counts["rejected_item_without_id"] == 1
    assert pq.read_table(tmp_path / "rejects.parquet")["line"].to_pylist() == [3]


@pytest.mark.parametrize("name", ["rq-kmeans", "rq-vae", "rq-kmeans-plus", "title"])
def test_the_stage_keeps_all_that_its_scheme_needs(name: str, tmp_path: Path) -> None:
    options = {"hidden": [8], "epochs": 2} if "vae" in name or "plus" in name else {}
    health = HealthSection(
        min_utilisation=0, max_collision_rate=1, max_resolution_cost=1e9, max_prefix_traffic=1
    )
    scheme = QUANTIZERS.load(name)(**options)
    section = SidSection(quantizer=scheme, codes=8, health=health)
    recipe = Recipe.model_construct(seed=0, sid=section)
    table = item_table(70)
    inputs = write_stages(tmp_path, table.slice(0, 60), random_sequences(60, 30, 9, seed=0))
    vectors = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)
    save_file({"vectors": vectors[:60]}, inputs["embed"] / "vectors.safetensors")
    out = tmp_path / "sid"
    out.mkdir()
    Sid(recipe).build(inputs, out)
    assert (out / STATE_FILE).exists() == bool(options)
    index = read_index(out / "sids.parquet")
    given = ExtensionInput(
        index=index,
        items=Items(table.slice(60)),
        seed=0,
        codebooks=read_codebooks(out),
        state=read_state(out),
        read_vectors=lambda: vectors[60:],
    )
    grown = scheme.extend(given).index
    assert grown.begins_with(index) and not index.begins_with(grown)
    assert len(set(grown.texts())) == 70
