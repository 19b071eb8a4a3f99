"""The encoder `precomputed`: the three formats, and every way in which a file can be wrong."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from encoder_inputs import make_input, make_items
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from recllm.data_prep.encoders import Encoded, _keyed_vectors
from recllm.data_prep.encoders.precomputed import Precomputed
from recllm.errors import UserError

#: The catalogue has items 0, 1 and 2.
IDS = ["2", "extra", "0", "1"]
VECTORS = np.array([[2.0, 20.0], [9.0, 90.0], [0.5, 0.0], [1.0, 10.0]], dtype=np.float32)
EXPECTED = VECTORS[[2, 3, 0]]


def write_npy(folder: Path, ids: list[str], vectors: Any) -> dict[str, Path]:
    np.save(folder / "vectors.npy", vectors, allow_pickle=True)
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
    return {"path": folder / "vectors.npy", "ids": folder / "ids.txt"}


def write_safetensors(folder: Path, ids: list[str], vectors: Any) -> dict[str, Path]:
    path = folder / "vectors.safetensors"
    save_file({"vectors": np.ascontiguousarray(vectors)}, path, {"item_ids": json.dumps(ids)})
    return {"path": path}


def write_parquet(folder: Path, ids: list[str], vectors: Any) -> dict[str, Path]:
    table = pa.table({"vector": list(vectors), "item_id": ids, "more": [0] * len(ids)})
    pq.write_table(table, folder / "vectors.parquet")
    return {"path": folder / "vectors.parquet"}


Write = Callable[[Path, list[str], Any], dict[str, Path]]
WRITERS: dict[str, Write] = {
    "npy": write_npy,
    "safetensors": write_safetensors,
    "parquet": write_parquet,
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest) -> Write:
    return WRITERS[request.param]


def encode(options: Mapping[str, Any], items: int = 3) -> Encoded:
    return Precomputed.model_validate(options).encode(make_input([""] * items, []))


@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_vectors_are_found_by_id_and_others_are_counted(
    write: Write, batch_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_keyed_vectors, "BATCH_ROWS", batch_rows)
    options = write(tmp_path, IDS, VECTORS)
    Precomputed.model_validate(options).check()
    encoded = encode(options)
    assert encoded.vectors.dtype == np.float32
    assert np.array_equal(encoded.vectors, EXPECTED)
    assert encoded.counts == {"extra_vectors": 1, "missing_vectors": 0}


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_other_kinds_of_numbers(write: Write, dtype: Any, tmp_path: Path) -> None:
    found = encode(write(tmp_path, IDS, VECTORS.astype(dtype))).vectors
    np.testing.assert_array_equal(found, EXPECTED.astype(dtype).astype(np.float32))


def test_bfloat16_an_array_of_another_name_and_a_file_of_ids(tmp_path: Path) -> None:
    save_torch_file({"weight": torch.tensor(VECTORS).bfloat16()}, tmp_path / "v.safetensors")
    (tmp_path / "ids.txt").write_bytes(b"2\r\nextra\r\n0\r\n1")
    found = encode({"path": tmp_path / "v.safetensors", "ids": tmp_path / "ids.txt"}).vectors
    assert np.array_equal(found, EXPECTED)


def test_parquet_of_other_types(tmp_path: Path) -> None:
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[2:].ravel()), 2)
    table = pa.table({"item_id": pa.array([0, 1], pa.int32()), "vector": fixed})
    pq.write_table(table, tmp_path / "v.parquet")
    assert np.array_equal(encode({"path": tmp_path / "v.parquet"}, 2).vectors, VECTORS[2:])


def test_items_that_the_file_lacks(write: Write, tmp_path: Path) -> None:
    options: dict[str, Any] = write(tmp_path, IDS, VECTORS)
    with pytest.raises(UserError, match=r"each of the 5 items, found none for 2 \('3', '4'\); add"):
        encode(options, 5)
    encoded = encode(options | {"missing": "zero"}, 5)
    assert np.array_equal(encoded.vectors[:3], EXPECTED) and not encoded.vectors[3:].any()
    assert encoded.counts == {"extra_vectors": 1, "missing_vectors": 2}


def test_a_file_of_other_items_altogether(write: Write, tmp_path: Path) -> None:
    options = write(tmp_path, list("abcd"), VECTORS)
    with pytest.raises(UserError, match=r"no vector of any of the 3 items: its ids are 4 \('a', "):
        encode({**options, "missing": "zero"})


def test_ids_that_occur_twice(write: Write, tmp_path: Path) -> None:
    options = write(tmp_path, ["2", "0", "0", "1"], VECTORS)
    with pytest.raises(UserError, match=r"each item_id once, found 1 \('0'\) more than once"):
        encode(options)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none(write: Write, value: float, tmp_path: Path) -> None:
    vectors = VECTORS.astype(np.float64)
    vectors[1, 0] = value  # nobody's
    assert np.array_equal(encode(write(tmp_path, IDS, vectors)).vectors, EXPECTED)
    vectors[0, 1] = value
    with pytest.raises(UserError, match=r"NaN or infinity \(in float32\) for 1 \('2'\)"):
        encode(write(tmp_path, IDS, vectors))


def test_arrays_of_another_shape(tmp_path: Path) -> None:
    for vectors in (VECTORS[:, 0], VECTORS[:, :, None], VECTORS[:, :0], VECTORS > 0):
        for write in (write_npy, write_safetensors):
            with pytest.raises(UserError, match=r"numbers of shape \(items, width\)|npy format"):
                encode(write(tmp_path, IDS, vectors))
    for write in (write_npy, write_safetensors):
        with pytest.raises(UserError, match="one id for each of 4 rows, found 3"):
            encode(write(tmp_path, IDS[:3], VECTORS))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    options = write_npy(tmp_path, ["0"], np.array([[Trap()]], dtype=object))
    with pytest.raises(UserError, match="expected an array of numbers in npy format"):
        encode(options, 1)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_something_else(write: Write, tmp_path: Path) -> None:
    options = write(tmp_path, IDS, VECTORS)
    options["path"].write_bytes(b"something else")
    with pytest.raises(UserError, match=r"npy format|safetensors file|Parquet file"):
        Precomputed.model_validate(options).check()


PARQUET: dict[str, tuple[dict[str, Any], str]] = {
    "no vectors": ({"item_id": ["0"], "vectors": [[1.0]]}, "a column 'vector', found item_id, ve"),
    "no ids": ({"id": ["0"], "vector": [[1.0]]}, "a column 'item_id', found id, vector"),
    "no lists": ({"item_id": ["0"], "vector": [1.0]}, "expected lists of numbers, found double"),
    "words": ({"item_id": ["0"], "vector": [["a"]]}, "expected lists of numbers, found list<"),
    "ids of another kind": ({"item_id": [0.5], "vector": [[1.0]]}, "strings or whole numbers"),
    "a missing id": ({"item_id": ["0", None], "vector": [[1.0], [2.0]]}, "1 rows have no item_id"),
    "a missing vector": (
        {"item_id": ["0", "1"], "vector": [[1.0], None]},
        "found one of 0 for '1'",
    ),
    "other widths": ({"item_id": ["0", "1"], "vector": [[1.0], [1.0, 2.0]]}, "found one of 2 for"),
    "a missing number": ({"item_id": ["0"], "vector": [[1.0, None]]}, "NaN or infinity"),
    "no width": ({"item_id": ["0"], "vector": pa.array([[]], pa.list_(pa.float32()))}, "one of 0"),
}


@pytest.mark.parametrize("case", PARQUET)
def test_parquet_of_another_form(case: str, tmp_path: Path) -> None:
    columns, message = PARQUET[case]
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    with pytest.raises(UserError, match=message):
        encode({"path": tmp_path / "v.parquet"}, 1)


def test_safetensors_without_ids_or_with_several_arrays(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_file({"vectors": VECTORS}, path)
    with pytest.raises(UserError, match=r"no 'item_ids', .* text file .* with embed\.ids"):
        encode({"path": path})
    for header in ("{", '{"a": 1}', "[1, 2]"):
        save_file({"vectors": VECTORS}, path, {"item_ids": header})
        with pytest.raises(UserError, match="expected a JSON list"):
            encode({"path": path})
    save_file({"a": VECTORS, "b": VECTORS}, path)
    with pytest.raises(UserError, match="an array called vectors, or one array alone, found a, b"):
        encode({"path": path})


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.npy, \.safetensors, \.parquet, found .*\.pkl"):
        Precomputed(path=tmp_path / "v.pkl")
    with pytest.raises(ValueError, match="a Parquet file has a column item_id"):
        Precomputed(path=tmp_path / "v.parquet", ids=tmp_path / "ids.txt")
    np.save(tmp_path / "v.npy", VECTORS)
    with pytest.raises(UserError, match=r"an npy file has no ids; .* with embed\.ids"):
        Precomputed(path=tmp_path / "v.npy").check()
    for use in (Precomputed.settings, Precomputed.check):
        with pytest.raises(UserError, match=r"no\.parquet: expected a file, found none"):
            use(Precomputed(path=tmp_path / "no.parquet"))
    (tmp_path / "ids.txt").write_bytes(b"\xff\n")
    with pytest.raises(UserError, match=r"ids\.txt: expected text in UTF-8"):
        Precomputed(path=tmp_path / "v.npy", ids=tmp_path / "ids.txt").check()


def test_the_stage_s_key_is_of_the_content(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = Precomputed.model_validate(write(tmp_path / "a", IDS, VECTORS)).settings()
    assert Precomputed.model_validate(write(tmp_path / "b", IDS, VECTORS)).settings() == one
    other_ids = Precomputed.model_validate(write(tmp_path / "b", IDS[::-1], VECTORS)).settings()
    other = Precomputed.model_validate(write(tmp_path / "b", IDS, VECTORS + 1)).settings()
    assert one != other_ids != other != one


def test_new_items_are_looked_up_in_the_file_as_it_is_now(write: Write, tmp_path: Path) -> None:
    encoder = Precomputed.model_validate(write(tmp_path, IDS, VECTORS))
    encoded = encoder.encode(make_input([""] * 3, []))
    write(tmp_path, [*IDS, "3"], np.vstack([VECTORS, [[7.0, 7.0]]]).astype(np.float32))
    new = encoder.encode_new(make_items([""] * 4), encoded.state).vectors
    assert np.array_equal(new, np.vstack([EXPECTED, [[7.0, 7.0]]]))
