"""Which sentence-transformers models are taken: of the Hub, without code, pickles or a package."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from encoder_inputs import TITLES, encode_texts, make_input, make_items, write_sentence_model

from recllm.data_prep.encoders import _sentence_model
from recllm.data_prep.encoders.sentence_transformers import SentenceTransformers
from recllm.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(sentence_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of downloads that holds the tiny model as somebody/tiny, with no network."""
    storage = tmp_path / "hub" / "models--somebody--tiny"
    shutil.copytree(sentence_model, storage / "snapshots" / COMMIT)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return storage


def test_a_model_of_the_hub_goes_by_its_commit(
    hub: Path, sentence_model: str, tmp_path: Path, encoded_texts: list[str]
) -> None:
    encoder = SentenceTransformers(model="somebody/tiny")
    encoder.check()
    encoded = encoder.encode(make_input(cache=tmp_path))
    assert np.array_equal(encoded.vectors, encode_texts(sentence_model).vectors)
    assert encoder.settings()["model"] == "somebody/tiny"
    other = COMMIT[::-1]
    write_sentence_model(hub / "snapshots" / other, seed=1)
    (hub / "refs" / "main").write_text(other)
    encoded_texts.clear()
    moved = encoder.encode(make_input(cache=tmp_path))
    assert len(encoded_texts) == 5
    assert not np.allclose(moved.vectors, encoded.vectors, atol=1e-3)
    # New items are encoded by the commit that the old ones were.
    again = encoder.encode_new(make_items(TITLES), encoded.state)
    np.testing.assert_allclose(again.vectors, encoded.vectors, atol=1e-6)
    pinned = SentenceTransformers(model="somebody/tiny", revision=COMMIT)
    assert np.array_equal(pinned.encode(make_input()).vectors, encoded.vectors)


def test_a_model_of_the_hub_that_cannot_be_had(hub: Path) -> None:
    encoder = SentenceTransformers(model="somebody/other")
    for use in (encoder.check, lambda: encoder.encode(make_input())):
        with pytest.raises(UserError, match=r"^somebody/other: the model is no folder, .* network"):
            use()


def test_what_is_no_model(sentence_model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a Hub id or a folder that exists, found '/no"):
        SentenceTransformers(model="/no/such/folder")
    with pytest.raises(ValueError, match="a folder has none"):
        SentenceTransformers(model=sentence_model, revision="main")
    with pytest.raises(ValueError, match="at most one of 'prompt' and 'prompt_name'"):
        SentenceTransformers(model=sentence_model, prompt="a", prompt_name="b")
    with pytest.raises(UserError, match="prompt_name: unknown prompt 'documnt'; did you mean 'doc"):
        encode_texts(sentence_model, prompt_name="documnt")
    broken = tmp_path / "broken"
    shutil.copytree(sentence_model, broken)
    (broken / "modules.json").unlink()
    for use in (SentenceTransformers.check, lambda e: e.encode(make_input())):
        with pytest.raises(
            UserError, match=r"a sentence-transformers model, found no modules\.json"
        ):
            use(SentenceTransformers(model=str(broken)))
    for content in ("{", "[1]", '{"a": 1}', '[{"path": ""}]'):
        (broken / "modules.json").write_text(content)
        with pytest.raises(UserError, match=r"modules\.json is not that of"):
            SentenceTransformers(model=str(broken)).check()
    shutil.copy(Path(sentence_model) / "modules.json", broken)
    (broken / "config.json").write_text("{}")
    with pytest.raises(UserError, match="model cannot be loaded: ") as caught:
        encode_texts(str(broken))
    assert "\n" not in str(caught.value)


def test_code_of_a_model_is_not_run_unasked(sentence_model: str, tmp_path: Path) -> None:
    folder, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(sentence_model, folder)
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Own: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "own.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    encoder = SentenceTransformers(model=str(folder))
    for use in (encoder.check, lambda: encoder.encode(make_input())):
        with pytest.raises(
            UserError, match=r"code of its own \(own\.Own\).*trust_remote_code: true"
        ):
            use()
    assert not mark.exists()
    SentenceTransformers(model=str(folder), trust_remote_code=True).check()


def test_weights_in_pickle_files_are_refused(sentence_model: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sentence_model, folder)
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="weights in a pickle file"):
        encode_texts(str(folder))


def test_without_the_package(sentence_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceTransformers(model=sentence_model)
    monkeypatch.setattr(_sentence_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'recllm\[sentence-transformers\]'"):
        encoder.check()


def test_devices_that_are_not_there(sentence_model: str) -> None:
    for devices, message in (
        (("cuda:99",), r"devices: cuda:99 is not there: this machine has \d+ GPUs"),
        (("gpu0",), "expected names such as cuda:0 or cpu, found 'gpu0'"),
    ):
        encoder = SentenceTransformers(model=sentence_model, devices=devices)
        for use in (encoder.check, lambda e=encoder: e.encode(make_input())):
            with pytest.raises(UserError, match=message):
                use()
