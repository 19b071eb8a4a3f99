"""An adapter's folder holds what was trained, and gives the model back on its base alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tunable import (
    HISTORIES,
    ITEMS,
    disturb,
    logits,
    make_catalog,
    make_section,
    name_base,
    save_base,
    save_plain_adapter,
    tune,
)

from recllm.errors import UserError
from recllm.models.loading import load_merged, load_model
from recllm.models.recommender import Recommender
from recllm.models.references import check_base, fingerprint, is_adapter
from recllm.models.tokenizers import train_tokenizer
from recllm.models.tuned import TunedModel

CASES = [
    ("qwen2", True, "lora"),
    ("qwen3", False, "lora"),
    ("llama", True, "sid-rows"),
    ("qwen2", False, "sid-rows"),
    ("llama", False, "lora"),
]


@pytest.mark.parametrize(("architecture", "tied", "tuning"), CASES)
def test_saved_and_loaded_it_is_the_same_model(
    tmp_path: Path, architecture: str, tied: bool, tuning: str
) -> None:
    name = save_base(tmp_path / "base", architecture, tied)
    recommender = disturb(tune(make_section(name, tuning)))
    recommender.save(tmp_path / "adapter")
    loaded = Recommender.load(tmp_path / "adapter")
    assert isinstance(loaded.model, TunedModel)
    assert torch.equal(logits(loaded), logits(recommender))
    before, after = (r.rank(HISTORIES, beams=10) for r in (recommender, loaded))
    assert np.array_equal(before.items, after.items)
    assert np.array_equal(before.scores, after.scores)
    untrained = tune(make_section(name, tuning))
    assert not np.array_equal(untrained.rank(HISTORIES, beams=10).scores, after.scores)


@pytest.mark.parametrize(("architecture", "tied", "tuning"), CASES)
def test_merged_it_ranks_the_same(
    tmp_path: Path, architecture: str, tied: bool, tuning: str
) -> None:
    name = save_base(tmp_path / "base", architecture, tied)
    disturb(tune(make_section(name, tuning))).save(tmp_path / "adapter")
    loaded = Recommender.load(tmp_path / "adapter")
    merged = Recommender.load_merged(tmp_path / "adapter")
    merged.save(tmp_path / "merged")
    whole = Recommender.load(tmp_path / "merged")
    model: Any = whole.model
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert (head is embedding) == tied
    assert not any("lora" in key for key in model.state_dict())
    assert torch.allclose(logits(whole), logits(loaded), atol=1e-5)
    for scoring in ("vocab", "level", "trie"):
        one, other = (r.rank(HISTORIES, beams=ITEMS, scoring=scoring) for r in (loaded, whole))
        assert np.allclose(one.scores, other.scores, atol=1e-4)
        assert (one.items == other.items).mean() > 0.95  # scores may tie but for rounding
        assert np.array_equal(one.items[:, :5], other.items[:, :5])


@pytest.mark.parametrize("tuning", ["qlora", "lora-8bit"])
def test_a_quantised_one_comes_back_on_its_quantised_base(tmp_path: Path, tuning: str) -> None:
    name = save_base(tmp_path / "base", hidden=64)
    recommender = disturb(tune(make_section(name, tuning)))
    recommender.save(tmp_path / "adapter")
    loaded = Recommender.load(tmp_path / "adapter")
    assert torch.equal(logits(loaded), logits(recommender))
    merged = Recommender.load_merged(tmp_path / "adapter")
    merged.save(tmp_path / "merged")
    whole = Recommender.load(tmp_path / "merged")
    assert getattr(whole.model.config, "quantization_config", None) is None
    assert {p.dtype for p in whole.model.parameters()} == {torch.float32}
    # LLM.int8 also rounds what goes into a layer, which the merged model does not.
    tolerance = 1e-4 if tuning == "qlora" else 0.1 * float(logits(loaded).abs().max())
    assert torch.allclose(logits(whole), logits(loaded), atol=tolerance)
    ranked = [r.rank(HISTORIES, beams=10).items for r in (loaded, whole)]
    shared = [len(set(a) & set(b)) for a, b in zip(*map(np.ndarray.tolist, ranked), strict=True)]
    assert min(shared) >= (10 if tuning == "qlora" else 8)


@pytest.mark.parametrize("tuning", ["lora", "sid-rows"])
@pytest.mark.parametrize("tied", [True, False])
def test_only_what_was_trained_is_written(tmp_path: Path, tied: bool, tuning: str) -> None:
    name = save_base(tmp_path / "base", tied=tied)
    recommender = tune(make_section(name, tuning))
    recommender.save(tmp_path / "adapter")
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert names == {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "sids.parquet", "items.parquet", "recllm.json",
    }  # fmt: skip
    trained = sum(p.numel() for p in recommender.model.parameters() if p.requires_grad)
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "pt") as file:
        shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
    assert sum(int(np.prod(shape)) for shape in shapes) == trained
    described = json.loads((tmp_path / "adapter" / "recllm.json").read_text())
    assert described["tuning"] == tuning
    assert described["base"]["fingerprint"] == fingerprint(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    name = save_base(tmp_path / "base", hidden=64)
    disturb(tune(make_section(name))).save(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_another_base_in_the_same_place_is_refused(adapter: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "base")
    save_base(tmp_path / "base", seed=1)
    for use in (lambda: Recommender.load(adapter), lambda: check_base(str(adapter))):
        with pytest.raises(UserError, match="where there is another model now"):
            use()


def test_a_base_that_differs_in_one_row_is_another(adapter: Path, tmp_path: Path) -> None:
    file = tmp_path / "base" / "model.safetensors"
    weights = load_file(file)
    weights["model.embed_tokens.weight"][7, 3] += 0.5
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match="where there is another model now"):
        Recommender.load(adapter)


def test_a_base_that_has_moved_is_named_anew(adapter: Path, tmp_path: Path) -> None:
    expected = logits(Recommender.load(adapter))
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"no such folder; .* name where it is now in .*recllm"):
        Recommender.load(adapter)
    described = json.loads((adapter / "recllm.json").read_text())
    described["base"]["name"] = str(tmp_path / "moved")
    (adapter / "recllm.json").write_text(json.dumps(described))
    assert torch.equal(logits(Recommender.load(adapter)), expected)


@pytest.mark.parametrize(
    "missing", ["adapter_model.safetensors", "recllm.json", "sids.parquet", "tokenizer.json"]
)
def test_a_folder_that_lacks_a_file(adapter: Path, missing: str) -> None:
    (adapter / missing).unlink()
    with pytest.raises(UserError, match=str(adapter)):
        Recommender.load(adapter)


@pytest.mark.parametrize("lost", ["trainable_tokens", "layers.1.mlp.up_proj.lora_B"])
def test_an_adapter_that_lacks_weights(adapter: Path, lost: str) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file({k: w for k, w in load_file(file).items() if lost not in k}, file)
    with pytest.raises(UserError, match="1 weights are not in both, such as "):
        Recommender.load(adapter)


def test_weights_of_other_shapes(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file({k: w[:, :-1].contiguous() for k, w in load_file(file).items()}, file)
    with pytest.raises(UserError, match=r"does not fit its base: .* size mismatch for "):
        Recommender.load(adapter)


def test_a_tokenizer_without_the_sids(adapter: Path) -> None:
    train_tokenizer(["other text"], 300).save_pretrained(adapter)
    with pytest.raises(UserError, match=r"adapter: the tokenizer lacks 12 SID tokens"):
        Recommender.load(adapter)


def test_a_whole_model_has_nothing_to_merge(tmp_path: Path) -> None:
    tune(make_section(save_base(tmp_path / "base"), "full")).save(tmp_path / "whole")
    with pytest.raises(UserError, match="expected an adapter, found a whole model"):
        Recommender.load_merged(tmp_path / "whole")


@pytest.mark.parametrize("tuning", ["full", "lora", "sid-rows", "qlora"])
def test_an_adapter_is_merged_before_it_is_tuned_further(
    adapter: Path, tmp_path: Path, tuning: str
) -> None:
    first = Recommender.load(adapter)
    second = tune(make_section(str(adapter), tuning))
    if tuning == "qlora":  # a merged weight in NF4 is about a tenth off
        quantised: Any = load_model(str(adapter), torch.float32, tuning="qlora")
        rounded = quantised.dequantize().state_dict()
        for name, weight in load_merged(adapter, torch.float32).state_dict().items():
            assert (rounded[name] - weight).norm() <= 0.15 * weight.norm(), name
    else:
        assert torch.allclose(logits(second), logits(first), atol=2e-4)
    disturb(second, seed=2).save(tmp_path / "second")
    loaded = Recommender.load(tmp_path / "second")
    assert is_adapter(tmp_path / "second") == (tuning != "full")
    assert torch.equal(logits(loaded), logits(second))
    if tuning != "full":
        merged = Recommender.load_merged(tmp_path / "second")
        assert torch.allclose(logits(merged), logits(second), atol=5e-4)
        shutil.rmtree(tmp_path / "base")
        save_base(tmp_path / "base", seed=1)
        with pytest.raises(UserError, match=r"adapter: this is an adapter of the model .* another"):
            Recommender.load(tmp_path / "second")


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_plain_adapter_is_merged_before_it_is_tuned_further(tmp_path: Path, tuning: str) -> None:
    base = save_base(tmp_path / "base")
    expected = save_plain_adapter(base, tmp_path / "instructed")
    plain = load_model(base, torch.float32)(torch.tensor([[3, 4, 5]])).logits
    recommender = tune(make_section(str(tmp_path / "instructed"), tuning))
    with torch.no_grad():
        found = recommender.model.eval()(torch.tensor([[3, 4, 5]])).logits
    assert torch.allclose(found[..., : expected.shape[-1]], expected, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-2)
    disturb(recommender).save(tmp_path / "tuned")
    assert torch.equal(logits(Recommender.load(tmp_path / "tuned")), logits(recommender))


def test_a_plain_adapter_without_safetensors_or_base_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "instructed"
    save_plain_adapter(save_base(tmp_path / "base"), folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match=r"expected an adapter's weights in .*safetensors"):
        tune(make_section(str(folder)))
    (folder / "adapter_model.bin").rename(folder / "adapter_model.safetensors")
    name_base(folder, None)
    with pytest.raises(UserError, match="expected base_model_name_or_path"):
        tune(make_section(str(folder)))


@pytest.mark.parametrize(
    ("other", "options", "said"),
    [
        ({"hidden": 64}, {}, "size mismatch"),
        ({"layers": 1}, {}, "4 weights are not in both, such as .*layers.1"),
        ({"layers": 3}, {}, "4 weights are not in both, such as .*layers.2"),
        ({}, {"trainable_token_indices": [2, 299]}, None),
        ({"rows": 290}, {"trainable_token_indices": [2, 299]}, "index 299 is out of bounds"),
    ],
    ids=["width", "fewer layers", "more layers", "the same", "fewer rows"],
)
def test_a_plain_adapter_on_another_base_is_refused(
    tmp_path: Path, other: dict[str, Any], options: dict[str, Any], said: str | None
) -> None:
    folder = tmp_path / "instructed"
    save_plain_adapter(save_base(tmp_path / "base"), folder, **options)
    rows = other.pop("rows", None)
    base = save_base(tmp_path / "other", **other)
    if rows is not None:
        model: Any = load_model(base, torch.float32)
        model.resize_token_embeddings(rows)
        model.save_pretrained(base)
        train_tokenizer(["x"], 280).save_pretrained(base)
    name_base(folder, base)
    if said is None:
        load_merged(folder, torch.float32)
        return
    with pytest.raises(UserError, match=f"{folder}: the adapter does not fit its base: .*{said}"):
        load_merged(folder, torch.float32)


@pytest.mark.parametrize("items", [ITEMS - 4, ITEMS, ITEMS + 9])
@pytest.mark.parametrize("first", ["full", "lora"])
def test_rows_of_the_same_sids_are_kept(tmp_path: Path, first: str, items: int) -> None:
    before = disturb(tune(make_section(save_base(tmp_path / "base"), first)))
    before.save(tmp_path / "known")
    after = tune(make_section(str(tmp_path / "known"), "full", new_rows="text"),
                 make_catalog(items=items), seed=3)  # fmt: skip
    assert torch.allclose(logits(after), logits(before), atol=1e-5)


@pytest.mark.parametrize("first", ["full", "lora"])
def test_other_sids_than_the_checkpoints_are_refused(tmp_path: Path, first: str) -> None:
    tune(make_section(save_base(tmp_path / "base"), first)).save(tmp_path / "known")
    section = make_section(str(tmp_path / "known"))
    message = r"other SIDs than this run's \(30 of 30 items have another one, such as 'id0': "
    with pytest.raises(UserError, match=message + "<a_0><b_0> there, <a_0><b_1> here"):
        tune(section, make_catalog(shift=1))


def test_a_checkpoint_whose_tokenizer_lacks_its_sids_is_refused(tmp_path: Path) -> None:
    tune(make_section(save_base(tmp_path / "base"), "full")).save(tmp_path / "known")
    train_tokenizer(["other text"], 300).save_pretrained(tmp_path / "known")
    with pytest.raises(UserError, match=r"known: the tokenizer lacks 12 SID tokens"):
        tune(make_section(str(tmp_path / "known"), "full"))
