"""Candidate sets ranked: exactly, by the model and by the baselines, in a run's own files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command_line import recllm
from hypothesis import given, settings
from hypothesis import strategies as st
from task_log import ITEMS, RECIPE, USERS, write_inputs

from recllm.baselines.covisitation import CoVisitation
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.schema import EvalSection, ModelSection
from recllm.eval.engines import Questions
from recllm.eval.engines._nearest import nearest_items
from recllm.eval.engines.transformers import TreeRanker
from recllm.metrics import compute
from recllm.models.backbone import load_backbone
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import add_sid_tokens, load_tokenizer, sid_token_ids
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

MODEL = ModelSection(from_scratch={"hidden": 32, "layers": 2, "heads": 2, "vocabulary": 300})  # type: ignore[arg-type]
TITLES = [f"book {i}" for i in range(30)]
CODES = np.stack([np.arange(30) // 8, np.arange(30) % 8], axis=1).astype(np.int32)
SECTION = EvalSection(engine=None, beams=3, cutoffs=(3,))
HISTORIES = [[1, 2, 3], [29], [4, 4, 5, 6, 7]]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    ids = [f"id{i}" for i in range(30)]
    sids = SidIndex(ids, CODES, 8)
    tokenizer = load_tokenizer(MODEL, TITLES)
    add_sid_tokens(tokenizer, sids)
    catalog = CatalogText(Items(pa.table({"item_id": ids, "title": TITLES})), sids)
    renderer = Renderer(Template.load("plain"), catalog, tokenizer, 4)
    return Recommender(load_backbone(MODEL, tokenizer, seed=0), renderer, "vocab", False)


@pytest.fixture(scope="module")
def brute_force(recommender: Recommender) -> np.ndarray:
    """(histories, items) each item's log-probability: its whole path run through the model."""
    assert isinstance(recommender.sids, SidIndex)
    tokens = sid_token_ids(recommender.renderer.tokenizer, recommender.sids)
    prompts = recommender.renderer.recommendation_prompts(HISTORIES)
    scores = np.empty((len(prompts), 30))
    for row, prompt in enumerate(prompts):
        for item, codes in enumerate(CODES):
            path = [int(tokens[level][code]) for level, code in enumerate(codes)]
            ids = torch.tensor([[*prompt, *path]])
            with torch.no_grad():
                logits = recommender.model(input_ids=ids).logits[0].log_softmax(-1)
            at = range(len(prompt) - 1, len(prompt) - 1 + len(path))
            scores[row, item] = sum(float(logits[p, t]) for p, t in zip(at, path, strict=True))
    return scores


@settings(max_examples=25, deadline=None)
@given(sets=st.lists(st.sets(st.integers(0, 29), min_size=1), min_size=3, max_size=3))
def test_the_search_ranks_all_candidates_by_their_own_scores(
    recommender: Recommender, brute_force: np.ndarray, sets: list[set[int]]
) -> None:
    prompts = recommender.renderer.recommendation_prompts(HISTORIES)
    only = [sorted(items) for items in sets]
    ranker = TreeRanker(recommender, SECTION, "float32")
    found = ranker.rank(Questions(prompts, None, only))
    assert found.items.shape[1] == max(map(len, sets))  # wider than eval.beams says
    for row, items in enumerate(sets):
        ranked = [item for item in found.items[row].tolist() if item >= 0]
        assert sorted(ranked) == sorted(items)
        scores = brute_force[row, ranked]
        assert found.scores[row][: len(ranked)] == pytest.approx(scores, abs=1e-4)
        assert (np.diff(scores) <= 1e-4).all()


@given(sets=st.lists(st.sets(st.integers(0, 7), min_size=1), min_size=2, max_size=2))
def test_grounding_ranks_candidates_alone(sets: list[set[int]]) -> None:
    points, items = np.array([[0.0], [5.2]]), np.arange(8.0)[:, None]
    whole = nearest_items(points, items, np.ones(8), 8, None)[0]
    only = [sorted(each) for each in sets]
    found = nearest_items(points, items, np.ones(8), 8, [[0], [0]], only=only)[0]
    for row, allowed in enumerate(sets):
        left = [item for item in whole[row].tolist() if item in allowed - {0}]
        assert found[row].tolist() == left + [-1] * (8 - len(left))


TRAINING = """
sft: {tasks: {seqrec: 1.0}, trainer: {max_steps: 2, learning_rate: 5e-3}}
eval: {beams: 5, cutoffs: [1, 5], bootstrap: 100, scoring: level}
"""


def test_a_run_shows_them(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    recipe = str(tmp_path / "recipe.yaml")
    Path(recipe).write_text(RECIPE.format(folder=tmp_path) + TRAINING)
    drawn = ["eval.candidates.negatives=4", "eval.candidates.exclude_history=false"]
    outcome = recllm("run", recipe, *drawn)
    assert outcome.code == 0, outcome.err
    shown = tmp_path / "run" / "eval"
    metrics = json.loads((shown / "metrics.json").read_text())
    found = metrics["candidates"]
    assert (found["rows"], found["settings"]["negatives"]) == (USERS, 4)
    assert found["sets"] == {"smallest": 5, "largest": 5, "without_target": 0}
    assert list(found["metrics"]) == ["hit@1", "hit@5", "ndcg@1", "ndcg@5", "mrr@5"]
    assert found["metrics"]["hit@5"] == {"value": 1.0, "ci95": [1.0, 1.0], "n": USERS}
    assert list(found["baselines"]) == list(metrics["baselines"]) == list(found["paired"])
    table = pq.read_table(shown / "candidates.parquet")
    assert table.column_names == ["row", "item_ids"]
    predictions = pq.read_table(shown / "predictions.parquet")
    assert table["row"].equals(predictions["row"])
    report = (tmp_path / "run" / "report.md").read_text()
    assert "4 items drawn uniformly · 5 items · Not comparable" in report
    assert "Candidate sets" in (tmp_path / "run" / "report.html").read_text()
    check_against_single_scores(tmp_path, table, found)
    # what was drawn, given as a file to the same checkpoint, is ranked the same
    rows, ids = table["row"].to_pylist(), table["item_ids"].to_pylist()
    pairs = [(row, item) for row, each in zip(rows, ids, strict=True) for item in each]
    given = pa.table({"row": [p[0] for p in pairs], "item_id": [p[1] for p in pairs]})
    pq.write_table(given, tmp_path / "given.parquet")
    settings = [f"eval.candidates.file={tmp_path}/given.parquet", "--checkpoint", str(shown.parent)]
    outcome = recllm("eval", recipe, *settings)
    assert outcome.code == 0, outcome.err
    again = json.loads((shown / "checkpoints" / "0" / "metrics.json").read_text())["candidates"]
    for part in ("metrics", "baselines", "paired", "sets"):
        assert again[part] == found[part]
    assert (shown / "checkpoints" / "0" / "candidates.parquet").is_file()


def check_against_single_scores(folder: Path, sets: pa.Table, found: dict) -> None:
    """The figures are those of ranking each set by the scores of the whole catalogue."""
    (split,) = (p.parent for p in (folder / "cache" / "split").glob("*/sequences.parquet"))
    sequences = Sequences.read(split)
    rows = SplitRows.read(split, "test", sequences)
    recommender = Recommender.load(folder / "run" / "model")
    ranked = recommender.rank(list(rows.histories), beams=ITEMS)
    choices = next((folder / "cache" / "baselines").glob("*/choices.json"))
    symmetric = json.loads(choices.read_text())["covisitation"]["symmetric"]
    model = CoVisitation.fit(sequences.training, ITEMS, symmetric)
    everything = model.rank(rows.histories, rows.target, ITEMS)
    for order, name in ((ranked.items, "model"), (everything.items, "covisitation")):
        ranks = []
        for row, target in enumerate(rows.target.tolist()):
            kept = recommender.items.index_of(sets["item_ids"][row].as_py())
            ranks.append([item for item in order[row].tolist() if item in kept].index(target))
        expected = compute("ndcg@5", np.array(ranks)).mean()
        figures = found["metrics"] if name == "model" else found["baselines"][name]
        assert figures["ndcg@5"]["value"] == pytest.approx(expected)


def test_verdicts_rank_no_candidates(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    recipe = RECIPE.format(folder=tmp_path) + TRAINING.replace("seqrec", "tallrec")
    (tmp_path / "recipe.yaml").write_text(recipe)
    overrides = ["sid.quantizer=title", "eval.scoring=vocab", "eval.candidates.negatives=4"]
    outcome = recllm("run", str(tmp_path / "recipe.yaml"), *overrides)
    assert outcome.code == 2
    assert "eval.candidates: the model is asked for verdicts by tallrec" in outcome.err
    assert not (tmp_path / "cache").exists()
