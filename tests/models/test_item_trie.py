"""The trie of a catalogue is what completions are made of, whatever stands for the items."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from builders import make_rows, make_sequences
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex, SidIndex, TitleIndex
from recllm.config.schema import ModelSection
from recllm.errors import UserError
from recllm.models.backbone import load_backbone
from recllm.models.item_trie import item_trie
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import add_sid_tokens, train_tokenizer, used_tokens
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.tasks.seqrec import SequentialRecommendation
from recllm.prompts.template import Template
from recllm.prompts.training import IGNORED, last_target_rows

ITEMS = 24
TITLES = [f"The {'silent' if i % 2 else 'loud'} harbor{', part ' + str(i) if i else ''}" for i in
          range(ITEMS)]  # fmt: skip
SECTION = ModelSection(from_scratch={"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 300})  # type: ignore[arg-type]


def some_codes(variable: bool) -> np.ndarray:
    numbers = np.arange(ITEMS)
    codes = np.stack([numbers // 8, numbers % 8, numbers % 3], axis=1).astype(np.int32)
    if variable:
        codes[::5, 2] = -1
    return codes


IDS = [f"id{i}" for i in range(ITEMS)]
INDEXES: dict[str, ItemIndex] = {
    "sids": SidIndex(IDS, some_codes(False), (3, 8, 3)),
    "sids of different lengths": SidIndex(IDS, some_codes(True), (3, 8, 3)),
    "titles": TitleIndex(IDS, TITLES),
}


def make_renderer(index: ItemIndex, template: str = "plain") -> Renderer:
    items = Items(pa.table({"item_id": IDS, "title": TITLES}))
    tokenizer = train_tokenizer(TITLES, 300)
    add_sid_tokens(tokenizer, index)
    return Renderer(Template.load(template), CatalogText(items, index), tokenizer, 4)


def path_of(trie, item: int) -> list[int]:
    """The tokens from the root to an item's leaf."""
    node, path = torch.tensor([0]), []
    while not bool(trie.is_leaf(node)[0]):
        children, exists = trie.children(node)
        start, end = trie.item_range(children[0])
        position = trie.order.tolist().index(item)
        inside = (exists[0] & (start <= position) & (position < end)).nonzero()
        child = int(inside[0])
        alphabet = trie.alphabets[len(path)]
        path.append(int(alphabet[trie.child_symbols(children)[0, child]]))
        node = children[0, child : child + 1]
    return path


@pytest.mark.parametrize("kind", INDEXES)
def test_paths_are_the_completions_that_are_trained(kind: str) -> None:
    index = INDEXES[kind]
    renderer = make_renderer(index)
    trie = item_trie(renderer)
    assert (trie.eos is None) == (kind == "sids")
    rows = make_rows(make_sequences([list(range(ITEMS))]), [(0, 0, i) for i in range(1, ITEMS)])
    trained = list(last_target_rows(renderer, SequentialRecommendation(), rows, 1.0, 0))
    for row, target in zip(trained, rows.target.tolist(), strict=True):
        completion = [label for label in row.labels if label != IGNORED]
        path = path_of(trie, target)
        assert completion == (path if index.variable_depth else [*path, completion[-1]])


@pytest.mark.parametrize("ending", ["", "\n", " done."])
@pytest.mark.parametrize("kind", INDEXES)
def test_paths_have_the_templates_ending(kind: str, ending: str) -> None:
    renderer = make_renderer(INDEXES[kind])
    renderer = replace(renderer, template=Template("{input}", ending=ending))
    trie = item_trie(renderer)
    rows = make_rows(make_sequences([list(range(ITEMS))]), [(0, 0, i) for i in range(1, ITEMS)])
    for row, target in zip(
        last_target_rows(renderer, SequentialRecommendation(), rows, 1.0, 0),
        rows.target.tolist(),
        strict=True,
    ):
        path = path_of(trie, target)
        assert path == [label for label in row.labels if label != IGNORED]
        text = renderer.catalog.sid_texts[target] + ending
        assert renderer.tokenizer.decode(path[:-1]) == text


@pytest.mark.parametrize("variable", [False, True])
def test_codes_that_no_item_has_may_have_no_token(variable: bool) -> None:
    """As in tokenizers that other projects extended: the ranking is the one without these codes."""
    sids = SidIndex(IDS, 2 * some_codes(False) + 1, (9, 20, 9))
    if variable:
        codes = sids.codes.copy()
        codes[::5, 2] = -1
        sids = SidIndex(IDS, codes, sids.sizes)
    items = Items(pa.table({"item_id": IDS, "title": TITLES}))
    few, all_of_them = train_tokenizer(TITLES, 300), train_tokenizer(TITLES, 300)
    few.add_tokens(used_tokens(sids))
    add_sid_tokens(all_of_them, sids)
    assert len(few) < len(all_of_them)
    tries = []
    for tokenizer in (few, all_of_them):
        renderer = Renderer(Template.load("plain"), CatalogText(items, sids), tokenizer, 4)
        trie = item_trie(renderer)
        tries.append(trie)
        for item, text in enumerate(sids.texts()):
            path = path_of(trie, item)
            path = path[:-1] if trie.eos is not None else path
            assert tokenizer.decode(path) == text
    assert tries[0].order.tolist() == tries[1].order.tolist()
    with pytest.raises(UserError, match=r"lacks .* SID tokens of this index"):
        item_trie(Renderer(Template.load("plain"), CatalogText(items, sids),
                           train_tokenizer(TITLES, 300), 4))  # fmt: skip


def test_a_code_that_is_several_tokens_is_refused() -> None:
    """A token of the vocabulary that no text is cut into is none of the model's."""
    renderer = make_renderer(INDEXES["sids"])
    given: Any = renderer.tokenizer
    backend = json.loads(given.backend_tokenizer.to_str())
    lost = [token for token in backend["added_tokens"] if token["content"] == "<b_2>"]
    backend["added_tokens"].remove(lost[0])
    backend["model"]["vocab"]["<b_2>"] = lost[0]["id"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)), eos_token="<|endoftext|>"
    )
    with pytest.raises(UserError, match=r"splits 1 SID tokens of this index .* such as <b_2>"):
        item_trie(replace(renderer, tokenizer=tokenizer))


@pytest.mark.parametrize("kind", INDEXES)
def test_a_saved_recommender_ranks_every_item_once(kind: str, tmp_path) -> None:
    renderer = make_renderer(INDEXES[kind])
    model = load_backbone(SECTION, renderer.tokenizer, seed=0)
    recommender = Recommender(model, renderer, scoring="vocab", exclude_history=False)
    before = recommender.rank([[1, 2], [23]], beams=ITEMS)
    assert all(sorted(row) == list(range(ITEMS)) for row in before.items.tolist())
    recommender.save(tmp_path)
    after = Recommender.load(tmp_path).rank([[1, 2], [23]], beams=ITEMS)
    assert np.array_equal(before.items, after.items)
    assert np.array_equal(before.scores, after.scores)
    if kind == "sids":
        recommender.rank([[1]], beams=3, scoring="level")
    else:
        with pytest.raises(UserError, match="'level' needs item paths of one length"):
            recommender.rank([[1]], beams=3, scoring="level")


def test_titles_stand_one_a_line() -> None:
    renderer = make_renderer(INDEXES["titles"])
    (prompt,) = renderer.recommendation_prompts([[3, 1]])
    assert renderer.tokenizer.decode(prompt) == (
        f"{SequentialRecommendation.phrasings[0]}\n{TITLES[3]}\n{TITLES[1]}\n"
    )


def test_a_title_with_the_end_token_is_refused() -> None:
    titles = [*TITLES[:-1], "The <|endoftext|> harbor"]
    with pytest.raises(UserError, match=f"without EOS .* in item {ITEMS - 1}"):
        item_trie(make_renderer(TitleIndex(IDS, titles)))
