"""The store of text vectors: what is found again, what a kill leaves, damage, several writers."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data_prep.encoders import _vector_store
from recllm.data_prep.encoders._vector_store import VectorStore


def vectors_of(texts: list[str]) -> np.ndarray:
    """A vector that tells its text: its length and its first character."""
    values = [[len(text), ord(text[0])] for text in texts]
    return np.array(values, dtype=np.float32).reshape(-1, 2)


def cut_of(texts: list[str]) -> np.ndarray:
    return np.array([len(text) > 3 for text in texts], dtype=bool)


TEXTS = st.lists(st.text(st.sampled_from("ab口\ud800"), min_size=1, max_size=5), max_size=6)


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=4), TEXTS)
def test_what_was_added_is_found_by_its_text(tmp_path_factory, added, asked):
    folder = tmp_path_factory.mktemp("store")
    known: set[str] = set()
    store = VectorStore(folder)
    for texts, write in [(sorted(set(texts)), write) for texts, write in added]:
        if texts:
            store.add(texts, vectors_of(texts), cut_of(texts))
        if write:
            store.write()
        known |= set(texts)
    store.write()
    asked = sorted(set(asked))
    found = VectorStore(folder).find(asked)
    assert found.known.tolist() == [text in known for text in asked]
    if found.known.any():
        expected = np.where(found.known[:, None], vectors_of(asked), 0)
        assert np.array_equal(found.vectors, expected)
    assert np.array_equal(found.cut, cut_of(asked) & found.known)
    shutil.rmtree(folder)


def test_it_is_written_when_there_is_much_or_it_is_long_ago(tmp_path, monkeypatch):
    store = VectorStore(tmp_path)
    store.add(["a"], vectors_of(["a"]), cut_of(["a"]))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(_vector_store, "TEXTS_A_FILE", 2)
    store.add(["b"], vectors_of(["b"]), cut_of(["b"]))
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    monkeypatch.setattr(_vector_store, "SECONDS_BETWEEN_WRITES", 0.0)
    store.add(["c"], vectors_of(["c"]), cut_of(["c"]))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert store.find(["a", "b", "c", "d"]).known.tolist() == [True, True, True, False]


def test_without_a_folder_nothing_is_kept():
    store = VectorStore(None)
    store.add(["a"], vectors_of(["a"]), cut_of(["a"]))
    store.write()
    found = store.find(["a"])
    assert not found.known.any() and found.vectors.shape == (1, 0) and not found.cut.any()


@pytest.mark.parametrize("damage", ["cut off", "empty", "of another kind"])
def test_a_damaged_file_is_passed_over(damage, tmp_path, caplog):
    store = VectorStore(tmp_path)
    for text in ("a", "b"):
        store.add([text], vectors_of([text]), cut_of([text]))
        store.write()
    (first, _) = sorted(tmp_path.glob("*.safetensors"))
    content = first.read_bytes()
    bad = {"cut off": content[:-1], "empty": b"", "of another kind": b"PK" + content}
    first.write_bytes(bad[damage])
    found = VectorStore(tmp_path).find(["a", "b"])
    assert found.known.sum() == 1
    assert np.array_equal(found.vectors[found.known], vectors_of(["a", "b"])[found.known])
    assert "damaged, and passed over" in caplog.text


def test_what_a_killed_process_left_is_cleared_and_never_read(tmp_path):
    code = (
        "import os, pathlib, sys\n"
        "import numpy as np, safetensors.numpy as s\n"
        "from recllm.data_prep.encoders._vector_store import VectorStore\n"
        "real = s.save_file\n"
        "def killed(arrays, path):\n"
        "    real(arrays, path)\n"
        "    data = pathlib.Path(path).read_bytes()\n"
        "    pathlib.Path(path).write_bytes(data[: len(data) // 2])\n"
        "    os.kill(os.getpid(), 9)\n"
        "store = VectorStore(pathlib.Path(sys.argv[1]))\n"
        "ones = np.ones((1, 2), np.float32)\n"
        "store.add(['a'], ones, np.zeros(1, bool)); store.write()\n"
        "s.save_file = killed\n"
        "store.add(['b'], ones, np.zeros(1, bool)); store.write()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.glob(".unfinished-*"))) == 1
    store = VectorStore(tmp_path)
    assert store.find(["a", "b"]).known.tolist() == [True, False]
    store.add(["b"], vectors_of(["b"]), cut_of(["b"]))
    store.write()
    assert store.find(["a", "b"]).known.all()
    assert not list(tmp_path.glob(".unfinished-*"))


def test_two_writers_do_not_harm_each_other(tmp_path):
    stores = [VectorStore(Path(tmp_path)) for _ in range(2)]
    for store, texts in zip(stores, (["a", "b"], ["b", "c"]), strict=True):
        store.add(texts, vectors_of(texts), cut_of(texts))
    for store in stores:
        store.write()
    found = VectorStore(tmp_path).find(["a", "b", "c"])
    assert found.known.all() and np.array_equal(found.vectors, vectors_of(["a", "b", "c"]))
