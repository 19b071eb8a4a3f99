"""The engine vllm, run for real on the CPU, against the engine transformers."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tunable import HISTORIES, ITEMS, TITLES, disturb, make_section, save_base, tune

from recllm.catalog.items import Items
from recllm.catalog.sids import TitleIndex
from recllm.config.plugins import ENGINES, TASKS
from recllm.config.schema import EvalSection, ModelSection
from recllm.errors import UserError
from recllm.eval.engines import Engine, Known, Questions
from recllm.eval.engines.transformers import Transformers
from recllm.eval.engines.vllm import Vllm
from recllm.models.backbone import load_backbone
from recllm.models.loading import load_model
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import load_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

pytest.importorskip("vllm", reason="vLLM is not installed")
#: vLLM's attention on a CPU takes heads of 32 numbers; there are four.
HIDDEN = 128
#: The longer the prompts, the more of them is in the prefix cache.
QUESTIONS = [*HISTORIES, [7] * 40, list(range(ITEMS)), [8, 9] * 30]


@pytest.fixture(autouse=True)
def leave_the_environment() -> Iterator[None]:
    kept = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(kept)


def settings(scoring: str = "vocab", beams: int = 10, **others: Any) -> EvalSection:
    return EvalSection(engine=None, beams=beams, cutoffs=(5,), scoring=scoring, **others)  # type: ignore[arg-type]


def known(cache: Path) -> Known:
    return Known(np.zeros(ITEMS, np.int64), lambda: pytest.fail("nothing is chosen"), cache)


def ranked(engine: Engine, checkpoint: Path, asked: Questions, section: EvalSection) -> Any:
    with closing(engine.open(checkpoint, known(checkpoint.parent), section, "float32")) as ranker:
        return ranker.rank(asked)


def require_equal(
    checkpoint: Path,
    section: EvalSection,
    exclude: bool = False,
    only: Sequence[Sequence[int]] | None = None,
) -> None:
    renderer = Recommender.load(checkpoint).renderer
    prompts = renderer.recommendation_prompts(QUESTIONS)
    asked = Questions(prompts, QUESTIONS if exclude else None, only)
    expected = ranked(Transformers(), checkpoint, asked, section)
    found = ranked(Vllm(), checkpoint, asked, section)
    assert np.array_equal(found.items >= 0, expected.items >= 0)
    there = expected.items >= 0
    assert np.abs(found.scores[there] - expected.scores[there]).max() < 1e-4
    assert np.array_equal(found.items, expected.items)


def save(
    folder: Path, tuning: str = "full", architecture: str = "qwen3", tied: bool = True
) -> Path:
    base = save_base(folder / "base", architecture, tied, hidden=HIDDEN)
    recommender = tune(make_section(base, tuning))
    (recommender if tuning == "full" else disturb(recommender)).save(folder / "model")
    return folder / "model"


def test_it_ranks_as_the_other_engine_does(tmp_path: Path) -> None:
    checkpoint = save(tmp_path)
    require_equal(checkpoint, settings())
    assert not (tmp_path / "vllm").exists()  # a whole model is taken as it is


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("scoring", ["level", "trie"])
def test_other_models_and_scorings(tmp_path: Path, architecture: str, scoring: str) -> None:
    require_equal(save(tmp_path, architecture=architecture, tied=False), settings(scoring))


@pytest.mark.slow
def test_excluded_items_leave_fewer_than_the_beams(tmp_path: Path) -> None:
    require_equal(save(tmp_path), settings(beams=ITEMS), exclude=True)


@pytest.mark.slow
def test_candidates_are_all_ranked(tmp_path: Path) -> None:
    only = [list(range(row, ITEMS, row + 2)) for row in range(len(QUESTIONS))]
    require_equal(save(tmp_path), settings(beams=5), only=only)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuning", "architecture", "tied"),
    [("lora", "qwen2", True), ("lora", "llama", False), ("sid-rows", "qwen3", False)],
)
def test_adapters_are_prepared_once(
    tmp_path: Path, tuning: str, architecture: str, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recllm.eval.engines import _vllm_checkpoint
    from recllm.eval.engines._vllm_checkpoint import prepare

    checkpoint = save(tmp_path, tuning, architecture, tied)
    require_equal(checkpoint, settings())
    monkeypatch.setattr(_vllm_checkpoint, "_write", lambda *_: pytest.fail("prepared again"))
    prepared = prepare(checkpoint, tmp_path / "vllm", torch.float32)
    assert (prepared.lora is not None) == (tuning == "lora")
    plain = load_model(str(tmp_path / "base"), torch.float32).state_dict()
    written = load_model(str(prepared.model), torch.float32).state_dict()
    layers = [name for name in plain if "layers" in name]
    assert all(torch.equal(plain[name], written[name]) for name in layers)  # LoRA is kept apart
    with pytest.raises(BaseException, match="prepared again"):
        prepare(checkpoint, tmp_path / "vllm", torch.bfloat16)


@pytest.mark.slow
def test_titles_of_different_lengths(tmp_path: Path) -> None:
    section = ModelSection.model_validate(
        {"from_scratch": {"hidden": 64, "layers": 2, "heads": 2, "vocabulary": 300}}
    )
    items = Items(pa.table({"item_id": [f"id{i}" for i in range(ITEMS)], "title": TITLES}))
    tokenizer = load_tokenizer(section, TITLES)
    catalog = CatalogText(items, TitleIndex(items.ids, TITLES))
    renderer = Renderer(Template.load("plain"), catalog, tokenizer, 4, TASKS.load("bigrec")())
    model = load_backbone(section, tokenizer, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    Recommender(model, renderer, "vocab", False).save(tmp_path / "model")
    require_equal(tmp_path / "model", settings())


def test_prompts_come_from_the_prefix_cache(tmp_path: Path) -> None:
    from recllm.eval.engines._vllm_checkpoint import Prepared
    from recllm.eval.engines._vllm_paths import VllmPaths

    model = save(tmp_path)
    cpu, path = torch.device("cpu"), list(range(3, 70))
    paths = VllmPaths(Prepared(model), cpu, torch.float32, 100, 2**26, {})
    with closing(paths):
        paths.run([path])
        (again,) = paths._llm.encode(
            [{"prompt_token_ids": [*path, 5]}], pooling_task="embed", use_tqdm=False
        )
        assert again.num_cached_tokens == 64  # of 67: whole blocks of 32
        assert torch.allclose(paths.run([[*path, 5]]), paths._encode([[*path, 5]]), atol=1e-5)
        _, block = paths.capacity
    assert block == 32


def test_a_model_that_vllm_cannot_run_is_refused(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", hidden=96)  # heads of 24 numbers
    tune(make_section(base, "full")).save(tmp_path / "model")
    with pytest.raises(UserError, match=r"vLLM cannot run this checkpoint.*engine: transformers"):
        ranked(Vllm(), tmp_path / "model", Questions([[1, 2]], None), settings())


def test_logits_that_are_not_the_heads_own_are_refused(tmp_path: Path) -> None:
    import json

    model = save(tmp_path)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"final_logit_softcapping": 30.0}))
    with pytest.raises(UserError, match="final_logit_softcapping"):
        Vllm().open(model, known(tmp_path), settings(), "float32")


def test_without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as the import system marks what is not there
    with pytest.raises(UserError, match=r"recllm\[vllm\]"):
        Vllm().open(tmp_path, known(tmp_path), settings(), "float32")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tensor_paralel_size": 2}, "did you mean 'tensor_parallel_size'"),
        ({"runner": "generate"}, "sets runner by itself"),
        ({"data_parallel_size": 2}, "in several processes instead"),
    ],
)
def test_arguments_of_vllm_are_checked(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ENGINES.load("vllm").model_validate({"vllm": arguments})
