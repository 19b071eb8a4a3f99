"""What each tuning trains, in which precision, and where new rows start."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tunable import CODES, HISTORIES, disturb, logits, make_catalog, make_section, save_base, tune

from recllm.catalog.sids import SidIndex, TitleIndex
from recllm.config.model_section import ModelSection
from recllm.decoding.scoring import Head
from recllm.errors import UserError
from recllm.models.loading import load_model
from recllm.models.references import BaseReference
from recllm.models.tokenizers import load_tokenizer, sid_token_ids
from recllm.models.tuned import TunedModel, keep_precision, prepare_for_tuning
from recllm.prompts.tasks import CatalogText

ARCHITECTURES = [("qwen2", True), ("qwen3", False), ("llama", True), ("llama", False)]


def sid_tokens(recommender) -> list[torch.Tensor]:
    ids = sid_token_ids(recommender.renderer.tokenizer, recommender.sids)
    return [torch.from_numpy(level) for level in ids]


def trained_names(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("tuning", ["lora", "sid-rows"])
@pytest.mark.parametrize(("architecture", "tied"), ARCHITECTURES)
def test_adapters_and_rows_alone_are_trained(
    tmp_path: Path, architecture: str, tied: bool, tuning: str
) -> None:
    recommender = tune(make_section(save_base(tmp_path, architecture, tied), tuning))
    model: Any = recommender.model
    names = trained_names(model)
    rows = {name for name in names if "trainable_tokens" in name}
    assert len(rows) == (1 if tied else 2)
    assert all(("lora_A" in name or "lora_B" in name) for name in names - rows)
    assert len(names - rows) == (2 * 2 * 7 if tuning == "lora" else 0)
    parameters = dict(model.named_parameters())
    assert {parameters[name].shape for name in rows} == {(2 * CODES, 32)}
    before = [t.clone() for t in effective_tables(model)]
    disturb(recommender)
    tokens = torch.cat(sid_tokens(recommender))
    others = torch.ones(len(before[0]), dtype=torch.bool)
    others[tokens] = False
    for old, new in zip(before, effective_tables(model), strict=True):
        assert torch.equal(old[others], new[others])
        assert not (old[tokens] == new[tokens]).any()
    assert torch.equal(*effective_tables(model)) == tied


def effective_tables(model: Any) -> list[torch.Tensor]:
    """The embedding and the head with their trained rows in place."""
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return [table.weight.detach() for table in tables]


@pytest.mark.parametrize("tuning", ["lora", "sid-rows"])
@pytest.mark.parametrize("tied", [True, False])
def test_rows_get_the_gradient_that_full_tuning_gives_them(
    tmp_path: Path, tied: bool, tuning: str
) -> None:
    name = save_base(tmp_path, tied=tied)
    section = make_section(name, tuning, **({"lora": {"dropout": 0}} if tuning == "lora" else {}))
    tuned, full = tune(section), tune(make_section(name, "full"))
    levels = sid_tokens(tuned)
    tokens = torch.cat(levels)
    input_ids = torch.stack([tokens[3], tokens[12], tokens[3], torch.tensor(5)])[None]
    totals = []
    for recommender in (tuned, full):
        model: Any = recommender.model
        hidden = model.get_decoder()(input_ids).last_hidden_state[0, :-1]
        rows = Head.of(model).logits(hidden, tokens)  # as a loss over the codes of a level has them
        vocabulary = model(input_ids).logits[0, :-1]
        total = rows.log_softmax(-1)[:, 4].sum() - vocabulary.log_softmax(-1)[:, tokens[1]].sum()
        total.backward()
        totals.append(total.item())
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    whole: Any = full.model
    modules = [whole.get_input_embeddings(), whole.get_output_embeddings()][: 1 if tied else 2]
    expected = [module.weight.grad[tokens] for module in modules]
    named = dict(tuned.model.named_parameters())
    found = [named[n].grad for n in sorted(named, key=len) if "trainable_tokens_delta" in n]
    found.sort(key=lambda grad: (grad - expected[0]).abs().max())  # type: ignore[union-attr]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert torch.allclose(one, other, atol=1e-6)
        assert other.abs().max() > 1e-3


def test_full_tuning_trains_everything(tmp_path: Path) -> None:
    model = tune(make_section(save_base(tmp_path), "full")).model
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_named_layers_alone_get_adapters(tmp_path: Path) -> None:
    lora = {"rank": 2, "target_modules": ["q_proj", "layers.1.mlp.up_proj"]}
    model = tune(make_section(save_base(tmp_path), "lora", lora=lora)).model
    layers = {name.split(".lora_")[0] for name in trained_names(model) if "lora_" in name}
    assert {name.partition("layers.")[2] for name in layers} == {
        "0.self_attn.q_proj", "1.self_attn.q_proj", "1.mlp.up_proj",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("q_porj", r"'q_porj' is no linear layer of this model; it has down_proj, .*q_proj"),
        ("lm_head", "lm_head is the embedding or the head.*train_sid_rows"),
        ("embed_tokens", "embed_tokens is the embedding or the head"),
    ],
)
def test_layers_that_cannot_have_adapters(tmp_path: Path, target: str, message: str) -> None:
    lora = {"target_modules": ["v_proj", target]}
    with pytest.raises(UserError, match=message):
        tune(make_section(save_base(tmp_path, tied=False), "lora", lora=lora))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("tuning", "kind"), [("qlora", "Linear4bit"), ("lora-8bit", "Linear8bit")])
def test_a_quantised_base_trains_rows_in_full_precision(
    tmp_path: Path, tuning: str, kind: str, tied: bool
) -> None:
    name = save_base(tmp_path / "base", tied=tied, hidden=64)
    recommender = disturb(tune(make_section(name, tuning)))
    model: Any = recommender.model
    bases = [(n, m) for n, m in model.named_modules() if n.endswith("base_layer")]
    quantised = [n for n, m in bases if type(m).__name__.startswith(kind)]
    assert len(quantised) == 2 * 7
    assert not any("lm_head" in n for n in quantised)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    for parameter in trained:  # as TRL does
        parameter.data = parameter.data.to(torch.bfloat16)
    assert keep_precision(model) == sum(p.numel() for p in trained)
    assert {p.dtype for p in trained} == {torch.float32}
    full = logits(tune(make_section(name, "full")))
    assert not torch.allclose(logits(recommender), full, atol=1e-3)


@pytest.mark.parametrize("tuning", ["qlora", "lora-8bit"])
def test_gradients_reach_every_layer_after_a_validation(tmp_path: Path, tuning: str) -> None:
    lora = {"rank": 4, "dropout": 0}
    recommender = disturb(tune(make_section(save_base(tmp_path, hidden=64), tuning, lora=lora)))
    model: Any = recommender.model.train()
    input_ids = torch.tensor([[5, 6, 7, 8]])
    gradients = []
    for _ in range(2):
        model.zero_grad()
        model(input_ids, labels=input_ids).loss.backward()
        named = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        assert all(grad.isfinite().all() and grad.abs().max() > 0 for grad in named.values())
        gradients.append(named)
        recommender.rank(HISTORIES, beams=5)
    for name, before in gradients[0].items():
        assert torch.allclose(gradients[1][name], before, atol=1e-6), name


def test_without_bitsandbytes_nothing_is_quantised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, real = save_base(tmp_path), importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "bitsandbytes" else real(n, *a)
    )
    with pytest.raises(UserError, match=r"qlora needs bitsandbytes.*pip install recllm\[quant\]"):
        tune(make_section(name, "qlora"))


def test_in_half_precision_what_is_trained_stays_float32(tmp_path: Path) -> None:
    name = save_base(tmp_path)
    model = tune(make_section(name, "lora", dtype="bfloat16")).model
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    kept = {p.dtype for p in model.parameters() if not p.requires_grad}
    assert (trained, kept) == ({torch.float32}, {torch.bfloat16})
    full = tune(make_section(name, "full", dtype="bfloat16")).model
    assert {p.dtype for p in full.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b", "lora": {"rank": 4}}, "lora is set, but tuning is 'full'"),
        ({"name": "a/b", "lora": {}, "tuning": "sid-rows"}, "tuning is 'sid-rows'"),
        ({"from_scratch": {}, "tuning": "lora"}, "those of from_scratch are random"),
        ({"from_scratch": {}, "tuning": "qlora"}, "set tuning: full, or give 'name'"),
        ({"from_scratch": {}, "tuning": "sid-rows"}, "set tuning: full, or give 'name'"),
        ({"from_scratch": {}, "new_rows": "text"}, "all those of from_scratch are new"),
        ({"name": "a/b", "tuning": "lora", "lora": {"target_modules": []}}, "tuning: sid-rows"),
        ({"name": "a/b", "tuning": "lora", "lora": {"rank": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSection.model_validate(options)


def test_new_rows_must_be_trained(tmp_path: Path) -> None:
    lora = {"train_sid_rows": False}
    with pytest.raises(UserError, match=r"train_sid_rows is false, but 16 SID tokens are new"):
        tune(make_section(save_base(tmp_path / "base"), "lora", lora=lora))
    tune(make_section(str(tmp_path / "base"), "full")).save(tmp_path / "known")
    model = tune(make_section(str(tmp_path / "known"), "lora", lora=lora)).model
    assert all("lora_" in name for name in trained_names(model))


def test_a_head_with_a_bias_would_lose_it(tmp_path: Path) -> None:
    name = save_base(tmp_path, tied=False)
    model: Any = load_model(name, torch.float32)
    model.lm_head = torch.nn.Linear(32, 300)
    with pytest.raises(UserError, match=r"the head of .* has a bias.*set tuning: full"):
        prepare_for_tuning(model, make_section(name), [7, 8], BaseReference.of(name))


def test_titles_have_no_rows_of_their_own(tmp_path: Path) -> None:
    catalog = make_catalog()
    titles = CatalogText(catalog.items, TitleIndex(catalog.sids.item_ids, catalog.titles))
    name = save_base(tmp_path)
    with pytest.raises(UserError, match="sid-rows trains the rows of SID tokens, but items go by"):
        tune(make_section(name, "sid-rows"), titles)
    model = tune(make_section(name, "lora"), titles).model
    assert isinstance(model, TunedModel)
    assert all("lora_" in name for name in trained_names(model))


@pytest.mark.parametrize("tied", [True, False])
def test_rows_can_start_from_the_titles_of_their_items(tmp_path: Path, tied: bool) -> None:
    name = save_base(tmp_path, tied=tied)
    catalog = make_catalog()
    recommender = tune(make_section(name, "full", new_rows="text"), catalog)
    spread = tune(make_section(name, "full"), catalog)
    tokenizer = load_tokenizer(make_section(name), [])
    base, tables = load_model(name, torch.float32), (recommender.model, spread.model)
    index = catalog.sids
    assert isinstance(index, SidIndex)
    for module in ("get_input_embeddings", "get_output_embeddings"):
        old = getattr(base, module)().weight.detach()
        text, drawn = (getattr(model, module)().weight.detach() for model in tables)
        assert torch.equal(text[: len(old)], old)
        for level, tokens in enumerate(sid_tokens(recommender)):
            for code, token in enumerate(tokens.tolist()):
                items = np.flatnonzero(index.codes[:, level] == code)
                means = [old[tokenizer(catalog.titles[i])["input_ids"]].mean(0) for i in items]
                centre = torch.stack(means).mean(0) if means else old.mean(0)
                # Both are spread alike, so that no two rows are the same.
                noise = drawn[token] - old.mean(0)
                assert torch.allclose(text[token] - centre, noise, atol=1e-5)
                assert 0 < noise.norm() < old.norm(dim=1).mean()
        assert (index.codes[:, 0] == 7).sum() == 0  # a code that no item has
