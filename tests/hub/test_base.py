"""The base of an adapter on the Hub, through the Hub's own client and a stand-in of the Hub."""

import json
from pathlib import Path

import numpy as np
import pytest
from local_hub import Fault, LocalHub, Repository
from local_hub.repositories import File
from safetensors.numpy import save_file

from recllm.errors import NetworkError, UserError
from recllm.hub.base import PublishedBase, base_of_whole, published_base
from recllm.models.references import BaseReference

CARD = b"---\nlicense: mit\n---\n"


def make_base(folder: Path) -> Path:
    """What has the files of a model, in two shards."""
    folder.mkdir()
    for number in (1, 2):
        save_file({"w": np.arange(number)}, folder / f"model-{number}.safetensors")
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    return folder


def make_adapter(folder: Path, base: BaseReference) -> Path:
    """What has the files of an adapter of a recommender."""
    folder.mkdir()
    save_file({"w": np.zeros(3)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base.name}))
    (folder / "recllm.json").write_text(json.dumps({"base": base.to_json()}))
    return folder


@pytest.fixture
def base(hub: LocalHub, tmp_path: Path) -> Path:
    """A model in a folder, which the Hub has too."""
    folder = make_base(tmp_path / "base")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["eve/base"] = Repository.new({**files, "README.md": CARD})
    return folder


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "adapter", BaseReference.of(str(base)))


def commit(hub: LocalHub) -> str:
    return hub.repository("eve/base").head.oid


def test_a_base_on_the_hub_is_named_as_it_was_loaded(
    hub: LocalHub, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    del base
    first = commit(hub)
    repository = hub.repos["eve/base"]
    assert isinstance(repository, Repository)
    repository.commit("main", {}, "all is gone")
    adapter = make_adapter(tmp_path / "adapter", BaseReference("eve/base", first))
    assert published_base(adapter, None) == PublishedBase("eve/base", first, "mit")
    assert not caplog.text
    unnamed = make_adapter(tmp_path / "unnamed", BaseReference("eve/base"))
    assert published_base(unnamed, None) == PublishedBase("eve/base", commit(hub), None)
    assert "does not say which commit of eve/base it was trained on" in caplog.text
    with pytest.raises(UserError, match="names its base on the Hub itself, eve/base; leave it out"):
        published_base(adapter, "eve/base")


def test_a_base_that_nobody_else_has_is_refused(hub: LocalHub, adapter: Path, base: Path) -> None:
    with pytest.raises(UserError) as error:
        published_base(adapter, None)
    line = str(error.value)
    assert f"an adapter of the model in {base}, a folder that nobody else has" in line
    assert "--base user/name" in line and f"recllm merge {adapter} DEST" in line
    assert not hub.requests


def test_the_same_model_on_the_hub_may_be_named(hub: LocalHub, adapter: Path) -> None:
    expected = PublishedBase("eve/base", commit(hub), "mit")
    assert published_base(adapter, "eve/base") == expected
    repository = hub.repos["eve/base"]
    assert isinstance(repository, Repository)
    repository.branches["v1"] = expected.revision
    repository.commit("main", {}, "all is gone")
    assert published_base(adapter, "eve/base@v1") == expected
    with pytest.raises(UserError, match=r"of model-1.safetensors it has no file of this name"):
        published_base(adapter, "eve/base")


@pytest.mark.parametrize("name", ["model-1.safetensors", "model-2.safetensors"])
@pytest.mark.parametrize("lfs", [True, False])
def test_another_model_on_the_hub_is_refused(
    hub: LocalHub, adapter: Path, base: Path, name: str, lfs: bool
) -> None:
    content = (base / name).read_bytes()
    other = content[:-1] + bytes([content[-1] ^ 1])
    repository = hub.repos["eve/base"]
    assert isinstance(repository, Repository)
    held = repository.head.files
    repository.commit("main", {**held, name: File(content, lfs)}, "the same, kept another way")
    assert published_base(adapter, "eve/base")
    repository.commit("main", {**held, name: File(other, lfs)}, "of the same size")
    with pytest.raises(UserError, match=f"but of {name} it has another one"):
        published_base(adapter, "eve/base")


def test_another_configuration_of_the_same_weights_is_told_of(
    hub: LocalHub, adapter: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert published_base(adapter, "eve/base") and not caplog.text
    files = {path.name: path.read_bytes() for path in base.iterdir()}
    hub.repos["eve/base"] = Repository.new({**files, "config.json": b"{}"})
    assert published_base(adapter, "eve/base")
    assert "but its config.json is not the same, byte for byte" in caplog.text


def test_a_base_that_not_all_may_read_is_told_of(
    hub: LocalHub, adapter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository = hub.repos["eve/base"]
    assert isinstance(repository, Repository)
    repository.gated = True
    assert published_base(adapter, "eve/base")
    assert "eve/base is gated: only who may read it can load the adapter" in caplog.text


def test_an_adapter_of_an_adapter_is_refused(hub: LocalHub, adapter: Path, tmp_path: Path) -> None:
    second = make_adapter(tmp_path / "second", BaseReference.of(str(adapter)))
    for given in (None, "eve/base"):
        with pytest.raises(UserError, match=f"another adapter, .*recllm merge {second} DEST"):
            published_base(second, given)
    assert not hub.requests


def test_a_whole_model_has_no_base(hub: LocalHub, base: Path) -> None:
    assert published_base(base, None) is None
    with pytest.raises(UserError, match=r"--base: .* is a whole model, which needs no base"):
        published_base(base, "eve/base")
    assert not hub.requests


def test_a_base_that_has_changed_or_is_gone_is_refused(
    hub: LocalHub, adapter: Path, base: Path
) -> None:
    (base / "config.json").write_text("{}")
    with pytest.raises(UserError, match="there is another model now"):
        published_base(adapter, "eve/base")
    base.rename(base.with_name("moved"))
    with pytest.raises(UserError, match="there is no such folder; put it back"):
        published_base(adapter, "eve/base")
    assert not hub.requests


@pytest.mark.parametrize("name", ["a/b/c", "eve base", "", "/eve"])
def test_names_that_no_base_has(adapter: Path, name: str) -> None:
    with pytest.raises(UserError, match="--base: expected user/name or user/name@revision"):
        published_base(adapter, name)


def test_asking_nobody(hub: LocalHub, adapter: Path, tmp_path: Path) -> None:
    of_hub = make_adapter(tmp_path / "of_hub", BaseReference("eve/base", "0" * 40))
    assert published_base(of_hub, None, ask=False) == PublishedBase("eve/base", "0" * 40, None)
    assert published_base(adapter, "eve/x", ask=False) == PublishedBase("eve/x", "main", None)
    assert not hub.requests


@pytest.mark.parametrize(
    "refusal",
    [
        ((404, "RepoNotFound"), UserError, "the base eve/base: the Hub has no repository eve/base"),
        ((403, "GatedRepo"), UserError, "the Hub's repository eve/base is gated: accept its"),
        ((404, "RevisionNotFound"), UserError, "the Hub's repository eve/base has no revision"),
        ((503, ""), NetworkError, "the base eve/base: the Hub cannot be reached: "),
    ],
)
def test_what_the_hub_refuses(
    hub: LocalHub, adapter: Path, caplog: pytest.LogCaptureFixture,
    refusal: tuple[tuple[int, str], type, str],
) -> None:  # fmt: skip
    (status, code), kind, said = refusal
    hub.faults = [Fault("GET", "/api/models/eve/base", status, code)]
    with pytest.raises(kind) as error:
        published_base(adapter, "eve/base")
    assert said in str(error.value) and "\n" not in str(error.value)
    caplog.clear()
    assert base_of_whole("eve/base") is None
    assert said in caplog.text and "nothing of its licence" in caplog.text


def test_what_a_whole_model_was_fine_tuned_from(hub: LocalHub, base: Path) -> None:
    del base
    first = PublishedBase("eve/base", commit(hub), "mit")
    assert base_of_whole("eve/base") == base_of_whole(f"eve/base@{first.revision}") == first
    for name, card in {"two": b"---\nlicense: [mit, bsd]\n---\n", "none": b"# A model"}.items():
        hub.repos[f"eve/{name}"] = made = Repository.new({"README.md": card})
        assert base_of_whole(f"eve/{name}") == PublishedBase(f"eve/{name}", made.head.oid, None)
