"""A recommender saved and loaded ranks as before; what is not one is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.plugins import TASKS
from recllm.config.schema import ModelSection
from recllm.errors import UserError
from recllm.models.backbone import load_backbone
from recllm.models.recommender import Recommender
from recllm.models.references import DESCRIPTION
from recllm.models.tokenizers import add_sid_tokens, load_tokenizer, sid_token_ids
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

SECTION = ModelSection(from_scratch={"hidden": 32, "layers": 2, "heads": 2, "vocabulary": 300})  # type: ignore[arg-type]


@pytest.fixture
def recommender() -> Recommender:
    titles = [f"book {i}" for i in range(30)]
    items = Items(pa.table({"item_id": [f"id{i}" for i in range(30)], "title": titles}))
    codes = np.stack([np.arange(30) // 8, np.arange(30) % 8], axis=1).astype(np.int32)
    sids = SidIndex(items.ids, codes, 8)
    tokenizer = load_tokenizer(SECTION, titles)
    add_sid_tokens(tokenizer, sids)
    model = load_backbone(SECTION, tokenizer, seed=0)
    renderer = Renderer(Template.load("plain"), CatalogText(items, sids), tokenizer, 4)
    return Recommender(model, renderer, scoring="level", exclude_history=False)


def test_saved_and_loaded_it_ranks_the_same(recommender: Recommender, tmp_path: Path) -> None:
    histories = [[1, 2, 3], [29], [4, 4, 5, 6, 7, 8]]
    before = recommender.rank(histories, beams=10)
    recommender.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".safetensors", ".parquet", ".json", ".jinja"}
    loaded = Recommender.load(tmp_path)
    after = loaded.rank(histories, beams=10)
    assert np.array_equal(before.items, after.items)
    assert np.array_equal(before.scores, after.scores)
    assert loaded.items.titles == recommender.items.titles
    assert (loaded.scoring, loaded.exclude_history) == ("level", False)


def test_the_history_can_be_excluded(recommender: Recommender) -> None:
    history = [1, 2, 3, 4, 5, 6]  # longer than a prompt shows
    ranking = recommender.rank([history], beams=30, exclude_history=True)
    assert set(ranking.items[0]) == (set(range(30)) - set(history)) | {-1}


def test_items_can_be_removed_and_a_request_can_have_its_own(recommender: Recommender) -> None:
    histories = [[1, 2], [3]]
    ranked = recommender.rank(histories, beams=30)
    fewer = recommender.without(["id7"]).without(["id8", "id9"])
    assert fewer.model is recommender.model
    only = list(range(5, 12))
    for row, scores in enumerate(ranked.scores):
        expected = dict(zip(ranked.items[row].tolist(), scores.tolist(), strict=True))
        for chosen, ranking in (
            (set(range(30)) - {7, 8, 9}, fewer.rank(histories, beams=30)),
            ({5, 6, 10, 11}, fewer.rank(histories, beams=30, only=[only, only])),
            (set(only), recommender.rank(histories, beams=30, only=[only, only])),
        ):
            items = ranking.items[row]
            found = dict(zip(items.tolist(), ranking.scores[row].tolist(), strict=True))
            found.pop(-1, None)
            assert found == pytest.approx({item: expected[item] for item in chosen}, abs=1e-5)
    # Where each item is, is found once, and not for each request.
    assert vars(fewer.trie)["position"] is vars(recommender.trie)["position"]
    with pytest.raises(UserError, match="'id30'"):
        recommender.without(["id30"])


def test_only_the_end_of_a_history_is_shown(recommender: Recommender) -> None:
    long, short = recommender.rank([[9, 8, 1, 2, 3, 4], [1, 2, 3, 4]], beams=5).items
    assert np.array_equal(long, short)


def test_an_empty_history_is_refused(recommender: Recommender) -> None:
    with pytest.raises(UserError, match="a history is empty"):
        recommender.rank([[1], []], beams=5)


def test_a_tokenizer_without_the_sids_is_refused(recommender: Recommender) -> None:
    other = SidIndex(recommender.sids.item_ids, recommender.sids.prefixes(), 9)
    with pytest.raises(UserError, match="lacks 2 SID tokens of this index, such as <a_8>"):
        sid_token_ids(recommender.renderer.tokenizer, other)


@pytest.mark.parametrize("missing", ["recllm.json", "sids.parquet", "items.parquet", "config.json"])
def test_a_folder_that_lacks_a_file(recommender: Recommender, tmp_path: Path, missing: str) -> None:
    recommender.save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=str(tmp_path)):
        Recommender.load(tmp_path)


def test_a_checkpoint_that_names_no_task_is_asked_by_seqrec(
    recommender: Recommender, tmp_path: Path
) -> None:
    recommender.save(tmp_path)
    described = json.loads((tmp_path / DESCRIPTION).read_text())
    assert described.pop("asked_by") == {"task": "seqrec", "options": {}}
    (tmp_path / DESCRIPTION).write_text(json.dumps(described))
    assert Recommender.load(tmp_path).renderer.asked_by == recommender.renderer.asked_by


@pytest.mark.parametrize(
    "asked_by",
    [
        "seqrec",
        {"task": "seqrec"},
        {"task": "nosuch", "options": {}},
        {"task": "seqrec", "options": {"colour": "red"}},
    ],
)
def test_a_task_that_is_not_known_is_refused(
    recommender: Recommender, tmp_path: Path, asked_by: object
) -> None:
    recommender.save(tmp_path)
    described = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(described | {"asked_by": asked_by}))
    with pytest.raises(UserError):
        Recommender.load(tmp_path)


def test_the_task_and_its_options_are_kept(recommender: Recommender, tmp_path: Path) -> None:
    task = TASKS.load("tallrec").model_validate({"liked_above": 4.5})
    judging = replace(recommender, renderer=replace(recommender.renderer, asked_by=task))
    judging.save(tmp_path)
    loaded = Recommender.load(tmp_path)
    assert loaded.renderer.asked_by == task
    with pytest.raises(UserError, match="task tallrec with Yes or No: it judges one item"):
        loaded.rank([[1]], beams=3)
