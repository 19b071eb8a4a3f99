"""`model.name` and `rl.checkpoint` where they name a recommender on the Hub, or any other model."""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_client import forget, name_base
from huggingface_hub import constants
from local_hub import COMMIT, LocalHub
from tunable import disturb, logits, make_catalog, make_section, save_base, tune

from recllm.config.model_section import ModelSection
from recllm.data_prep.prompts import tokenizer_identity
from recllm.errors import UserError
from recllm.models.checkpoint_files import check_same_sids
from recllm.models.checkpoint_ids import named_checkpoint, named_identity
from recllm.models.model_names import Place, find_commit, find_model, require_bases
from recllm.models.recommender import Recommender
from recllm.models.references import BaseReference, file_hashes
from recllm.models.tokenizers import load_tokenizer_of
from recllm.train.sft import _model_files


@pytest.fixture
def shop(hub: LocalHub, tmp_path: Path) -> Recommender:
    """A recommender with all its weights, on the Hub as ann/shop."""
    recommender = disturb(tune(make_section(save_base(tmp_path / "base"), "full")))
    hub.repos["ann/shop"] = tmp_path / "shop"
    recommender.save(tmp_path / "shop")
    return recommender


def test_training_goes_on_from_a_whole_model(shop: Recommender, tmp_path: Path) -> None:
    tuned = tune(make_section("ann/shop@v1"))
    assert torch.allclose(logits(tuned), logits(shop), atol=1e-5)
    assert tuned.model.base == BaseReference("ann/shop", COMMIT)  # type: ignore[attr-defined]
    disturb(tuned).save(tmp_path / "second")
    # What is written names the Hub, and no folder of this machine.
    for file in ("recllm.json", "adapter_config.json"):
        assert str(tmp_path) not in (tmp_path / "second" / file).read_text()
    assert torch.equal(logits(Recommender.load(tmp_path / "second")), logits(tuned))


def test_training_goes_on_from_an_adapter(hub: LocalHub, tmp_path: Path) -> None:
    hub.repos["org/base"] = Path(save_base(tmp_path / "base"))
    first = disturb(tune(make_section(str(tmp_path / "base"))))
    first.save(tmp_path / "first")
    name_base(tmp_path / "first", "org/base")
    hub.repos["ann/shop"] = tmp_path / "first"
    second = tune(make_section("ann/shop"))
    assert torch.allclose(logits(second), logits(first), atol=1e-5)
    disturb(second).save(tmp_path / "second")
    loaded = Recommender.load(tmp_path / "second")
    assert torch.allclose(logits(loaded), logits(second), atol=1e-5)


def test_its_sids_are_the_runs(shop: Recommender) -> None:
    check_same_sids("ann/shop", shop.sids)
    with pytest.raises(UserError, match="ann/shop was trained with other SIDs than this run's"):
        check_same_sids("ann/shop", make_catalog(shift=3).sids)


def test_the_commit_decides(shop: Recommender, hub: LocalHub, tmp_path: Path) -> None:
    del shop
    commit = {"commit": COMMIT}
    for name in ("ann/shop", "ann/shop@v1"):
        assert _model_files(name) == tokenizer_identity(make_section(name)) == commit
        assert named_identity("rl.checkpoint", name) == commit
    assert hub.sent == ["recllm.json"]  # to plan a run, no weights are downloaded
    folder = named_checkpoint("rl.checkpoint", "ann/shop")
    assert folder.name == COMMIT and (folder / "model.safetensors").is_file()
    assert named_identity("rl.checkpoint", str(tmp_path / "shop")) == file_hashes(tmp_path / "shop")
    assert named_checkpoint("rl.checkpoint", str(tmp_path / "shop")) == tmp_path / "shop"


def test_it_stays_what_it_was_when_the_process_began(
    shop: Recommender, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    del shop
    place = find_model("ann/shop")
    hub.repos.clear()
    assert find_model("ann/shop") == place
    forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model("ann/shop") == place


@pytest.mark.parametrize("name", ["ann/none", "ann/shop@v9"])
def test_a_checkpoint_that_is_not_there(shop: Recommender, name: str) -> None:
    del shop
    for use in (named_checkpoint, named_identity):
        with pytest.raises(UserError, match=f"^rl.checkpoint: {name}: there is no such folder"):
            use("rl.checkpoint", name)


def test_an_ordinary_model_of_the_cache_is_not_asked_for(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["org/base"] = Path(save_base(tmp_path / "base"))
    assert find_model("org/base@v1") == Place("org/base", "v1")
    assert find_commit("org/base") is None and _model_files("org/base") is None
    assert tokenizer_identity(make_section("org/base")) == "org/base"
    tuned = tune(make_section("org/base@v1"))
    assert tuned.model.base == BaseReference("org/base", COMMIT)  # type: ignore[attr-defined]
    assert len(load_tokenizer_of("org/base@v1")) == len(load_tokenizer_of(str(tmp_path / "base")))
    forget()
    asked: list[object] = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *given, **_: asked.append(given))
    assert find_model("org/base") == Place("org/base")
    assert find_model("gpt2") == Place("gpt2")  # the Hub's old names
    forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model("org/other") == Place("org/other")
    assert not asked


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "RepoNotFound", "the Hub has no repository org/base that may be read"),
        (403, "GatedRepo", "the Hub's repository org/base is gated"),
        (429, "", "the Hub has had too many requests from here"),
        (500, "", "the Hub cannot be reached"),
    ],
)
def test_a_model_that_the_hub_does_not_give(
    hub: LocalHub, tmp_path: Path, status: int, code: str, said: str
) -> None:
    hub.repos["org/base"] = tmp_path
    hub.refused["org/base"] = (status, code)
    with pytest.raises(UserError) as refused:
        tune(make_section("org/base"))
    (line,) = str(refused.value).splitlines()
    assert line.startswith("model.name: the ") and said in line


@pytest.mark.parametrize("name", ["ann/shop@", "ann/shop@a@b", "ann/shop@a b", "no folder"])
def test_what_is_no_models_name(name: str) -> None:
    with pytest.raises(ValueError, match="expected a Hub id or a folder that exists"):
        ModelSection.model_validate({"name": name})


def test_a_plain_adapters_base_keeps_its_revision(hub: LocalHub, tmp_path: Path) -> None:
    """Its tokenizer is that of the base, of the revision that the adapter names."""
    hub.repos["org/base"] = Path(save_base(tmp_path / "base"))
    (tmp_path / "adapter").mkdir()
    config = {"base_model_name_or_path": "org/base", "revision": "v9"}
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="org/base has no revision v9"):
        load_tokenizer_of(str(tmp_path / "adapter"))


def test_a_base_that_is_gone_is_said_before_any_work(hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    tune(make_section(save_base(tmp_path / "base"))).save(folder)
    name_base(folder, "org/base")
    hub.repos["org/base"] = tmp_path / "base"
    require_bases(folder)
    assert hub.sent == ["config.json"]
    hub.repos.clear()
    require_bases(folder)  # what is in the cache is enough
    name_base(folder, "org/gone")
    said = f"^{folder}: the base of this adapter, org/gone: the Hub has no repository org/gone"
    with pytest.raises(UserError, match=said):
        require_bases(folder)
