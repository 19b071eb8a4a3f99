"""Vectors that no SID can be made of end with exit code 2 and one line that says why."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import recllm
from small_log import LOG, RECIPE

CASES = {
    "no file": ("{encoder: precomputed, path: F/no.parquet}", "no.parquet: expected a file"),
    "NaN": ("{encoder: precomputed, path: F/nan.parquet}", "NaN or infinity (in float32) for 1"),
    "constant": ("{encoder: precomputed, path: F/constant.parquet}", "found 8 identical ones"),
    "items without a vector": (
        "{encoder: precomputed, path: F/few.parquet}",
        "expected a vector for each of the 8 items, found none for 3 ('i5', 'i6', 'i7')",
    ),
    "no folder": ("{encoder: sentence-transformers, model: /no/model}", "a folder that exists"),
    "no model": ("{encoder: sentence-transformers, model: F}", "found no modules.json"),
    "no model in a part": (
        "{encoder: fusion, parts: {lsa: 1, sentence-transformers: {model: F}}}",
        "found no modules.json",
    ),
    "an option misspelt": (
        "{encoder: sentence-transformers, modle: F}",
        "embed.modle: unknown key; did you mean 'model'",
    ),
    "an option of a part misspelt": (
        "{encoder: fusion, parts: {lsa: {max_term: 1}}}",
        "embed.parts: lsa.max_term: unknown key; did you mean 'max_terms'",
    ),
    "too many components": ("{encoder: fusion, pca: 4096}", "pca: expected at most the 128"),
    "the same text for all": ("{encoder: lsa}", "found 8 identical ones"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_code_2(case: str, tmp_path: Path) -> None:
    embed, says = CASES[case]
    vectors = np.random.default_rng(0).normal(size=(8, 4))
    files = {"constant": np.ones((8, 4)), "nan": vectors.copy(), "few": vectors[:5]}
    files["nan"][2, 1] = np.nan
    for name, values in files.items():
        ids = [f"i{number}" for number in range(len(values))]
        table = pa.table({"item_id": ids, "vector": values.tolist()})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"i{n},X\n" for n in range(8)))
    recipe = RECIPE.format(folder=tmp_path) + f"embed: {embed.replace('F', str(tmp_path))}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    ended = recllm("prep", str(tmp_path / "recipe.yaml"), f"data.items={tmp_path}/items.csv")
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err
