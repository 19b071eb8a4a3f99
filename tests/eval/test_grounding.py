"""Grounding: titles written as `generate` writes them alone, and the nearest items by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex, TitleIndex
from recllm.config.plugins import TASKS
from recllm.config.schema import EvalSection, ModelSection
from recllm.errors import UserError
from recllm.eval.engines import Known, Questions
from recllm.eval.engines._nearest import nearest_items, popularity_weights
from recllm.eval.engines._titles import TitleWriter
from recllm.eval.engines.grounding import Grounding
from recllm.models.backbone import load_backbone
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import add_sid_tokens, load_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

SECTION = ModelSection(from_scratch={"hidden": 32, "layers": 2, "heads": 2, "vocabulary": 300})  # type: ignore[arg-type]
TITLES = [f"The {('loud', 'silent')[i % 2]} harbor {'of gold ' * (i % 4)}{i}" for i in range(12)]
SETTINGS = EvalSection(engine=None, beams=5, cutoffs=(5,))
HISTORIES = [[1, 2, 3], [11], [4, 4, 5, 6, 7], [0, 9], [2]]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    items = Items(pa.table({"item_id": [f"id{i}" for i in range(12)], "title": TITLES}))
    tokenizer = load_tokenizer(SECTION, TITLES)
    catalog = CatalogText(items, TitleIndex(items.ids, TITLES))
    renderer = Renderer(Template.load("plain"), catalog, tokenizer, 4, TASKS.load("bigrec")())
    model = load_backbone(SECTION, tokenizer, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # else it writes the same to everybody
    return Recommender(model, renderer, scoring="vocab", exclude_history=False)


def naive(
    point: np.ndarray, items: np.ndarray, popularity: np.ndarray, gamma: float
) -> list[float]:
    """Weighted distances by the formula, item by item."""
    distances = [float(np.sqrt(((point - item) ** 2).sum())) for item in items]
    span = max(distances) - min(distances)
    spread = popularity.max() - popularity.min()
    found = []
    for distance, count in zip(distances, popularity, strict=True):
        near = (distance - min(distances)) / span if span else 0.0
        popular = (count - popularity.min()) / spread if spread else 0.0
        found.append(near / (1 + popular) ** gamma)
    return found


@given(
    points=arrays(float, (3, 2), elements=st.integers(-5, 5)),
    items=arrays(float, (7, 2), elements=st.integers(-5, 5), unique=False),
    popularity=arrays(int, 7, elements=st.integers(0, 9)),
    gamma=st.sampled_from([0.0, 0.5, 10.0]),
    beams=st.integers(1, 9),
    excluded=st.none() | st.lists(st.lists(st.integers(0, 6)), min_size=3, max_size=3),
)
def test_items_are_ranked_by_the_formula(  # noqa: PLR0917
    points: np.ndarray,
    items: np.ndarray,
    popularity: np.ndarray,
    gamma: float,
    beams: int,
    excluded: list[list[int]] | None,
) -> None:
    weights = popularity_weights(popularity, gamma)
    found, scores = nearest_items(points, items, weights, beams, excluded)
    assert found.shape == scores.shape == (3, beams)
    for row in range(3):
        left = set(range(7)) - set(excluded[row] if excluded else ())
        expected = naive(points[row], items, popularity, gamma)
        best = [expected[item] for item in found[row] if item >= 0]
        assert set(found[row].tolist()) - {-1} <= left
        assert len(best) == min(beams, len(left)) == len(set(found[row].tolist()) - {-1})
        assert best == pytest.approx(sorted(expected[item] for item in left)[:beams], abs=1e-6)
        assert scores[row][: len(best)] == pytest.approx(-np.array(best), abs=1e-6)
        assert (scores[row][len(best) :] == -np.inf).all()


def test_the_nearest_stays_first_and_popularity_settles_the_rest() -> None:
    items = np.array([[0.0], [1.0], [1.1], [3.0]])
    popularity = np.array([0, 0, 9, 9])
    order = []
    for gamma in (0.0, 1.0, 100.0):
        weights = popularity_weights(popularity, gamma)
        order.append(nearest_items(np.array([[0.0]]), items, weights, 4, None)[0][0].tolist())
    assert order == [[0, 1, 2, 3], [0, 2, 1, 3], [0, 2, 3, 1]]


def test_where_nothing_is_written_popularity_alone_ranks() -> None:
    nothing = np.array([[np.nan, np.nan]])
    items = np.arange(8.0).reshape(4, 2)
    weights = popularity_weights(np.array([1, 5, 2, 5]), 1.0)
    found, _ = nearest_items(nothing, items, weights, 4, None)
    assert found.tolist() == [[1, 3, 2, 0]]


def test_titles_are_written_as_generate_writes_them_one_by_one(recommender: Recommender) -> None:
    prompts = recommender.renderer.recommendation_prompts(HISTORIES)
    end = recommender.renderer.tokenizer.eos_token_id
    for beams in (1, 3):
        writer = TitleWriter(recommender, beams, batch_tokens=200)
        titles = writer.write(prompts)
        alone = []
        for prompt in prompts:
            ids = torch.tensor([prompt])
            model: Any = recommender.model
            found = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                num_beams=beams,
                do_sample=False,
                max_new_tokens=writer._longest,
                eos_token_id=end,
                pad_token_id=end,
            )
            text = recommender.renderer.tokenizer.decode(
                found[0, len(prompt) :], skip_special_tokens=True
            )
            alone.append(" ".join(str(text).split()))
        assert titles == alone
        assert writer.tokens > 0


def test_a_title_is_embedded_as_its_last_token_alone(recommender: Recommender) -> None:
    writer = TitleWriter(recommender, 1, batch_tokens=60)
    found = writer.embed([*TITLES, ""])
    assert np.isnan(found[-1]).all()
    for title, vector in zip(TITLES, found, strict=False):
        (ids,) = recommender.renderer.encode_prompts([title])
        with torch.no_grad():
            states = recommender.model(torch.tensor([ids]), output_hidden_states=True)
        assert vector == pytest.approx(states.hidden_states[-1][0, -1].numpy(), abs=1e-4)


def known(recommender: Recommender, targets: list[int]) -> Known:
    prompts = recommender.renderer.recommendation_prompts(HISTORIES)
    counts = np.arange(12)
    return Known(
        counts, lambda: (Questions(prompts, None), np.array(targets, dtype=np.int32)), Path()
    )


def test_gamma_is_chosen_on_validation(recommender: Recommender, tmp_path: Path) -> None:
    recommender.save(tmp_path)
    popular = known(recommender, [11] * 5)
    questions, _ = popular.validation()
    ranker = Grounding(gammas=(0.0, 100.0)).open(tmp_path, popular, SETTINGS, "float32")
    assert ranker.choices["gamma"] == 100.0
    tried = ranker.choices["valid_ndcg@10"]
    assert set(tried) == {"0", "100"} and tried["100"] > tried["0"]
    fixed = Grounding(gammas=(0.0,)).open(tmp_path, popular, SETTINGS, "float32")
    assert "valid_ndcg@10" not in fixed.choices
    nearest = fixed.rank(questions).items[:, 0].tolist()
    even = Grounding(gammas=(0.0, 100.0)).open(
        tmp_path, known(recommender, nearest), SETTINGS, "float32"
    )
    assert even.choices["gamma"] == 0.0  # both find the nearest first: the least is taken
    ranking = even.rank(questions)
    assert ranking.items.shape == (5, 5) and even.counts["beam_tokens"] > 0
    assert (np.diff(ranking.scores, axis=1) <= 0).all()


def test_a_checkpoint_that_writes_sids_is_refused(recommender: Recommender, tmp_path: Path) -> None:
    items = recommender.items
    sids = SidIndex(items.ids, np.arange(12, dtype=np.int32)[:, None], 12)
    tokenizer = load_tokenizer(SECTION, TITLES)
    add_sid_tokens(tokenizer, sids)
    renderer = Renderer(Template.load("plain"), CatalogText(items, sids), tokenizer, 4)
    model = load_backbone(SECTION, tokenizer, seed=0)
    Recommender(model, renderer, "vocab", False).save(tmp_path)
    with pytest.raises(UserError, match="needs a model that writes titles"):
        Grounding().open(tmp_path, known(recommender, [0] * 5), SETTINGS, "float32")
