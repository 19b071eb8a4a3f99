"""A small catalogue with a tokenizer, and a log of all that tasks can be made of."""

import copy
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from builders import make_rows, make_sequences

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.models.tokenizers import add_sid_tokens, train_tokenizer
from recllm.prompts.examples import Material, Texts
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

MakeRenderer = Callable[..., Renderer]

ITEMS, LEVELS, CODES = 40, 3, 4
#: A chat template that would show the day, as Llama's does.
CHAT = (
    "{% for m in messages %}[{{ m.role }} on {{ date_string }}]{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="session")
def make_renderer() -> MakeRenderer:
    titles = [f"The {'silent' if i % 2 else 'loud'} harbor, volume {i:02d}" for i in range(ITEMS)]
    descriptions = [None if i % 7 == 3 else f"Told at pier {i:02d}." for i in range(ITEMS)]
    ids = [f"id{i}" for i in range(ITEMS)]
    items = Items(pa.table({"item_id": ids, "title": titles, "description": descriptions}))
    numbers = np.arange(ITEMS)[:, None] // CODES ** np.arange(LEVELS) % CODES
    sids = SidIndex(items.ids, numbers.astype(np.int32), CODES)
    tokenizer = train_tokenizer([*titles, *["Yes", "No"] * 20], 320)
    add_sid_tokens(tokenizer, sids)
    talking = copy.deepcopy(tokenizer)
    talking.chat_template = CHAT

    def make(template: str | Template = "plain", max_history: int = 5) -> Renderer:
        template = template if isinstance(template, Template) else Template.load(template)
        used = talking if template.chat else tokenizer
        return Renderer(template, CatalogText(items, sids), used, max_history)

    return make


@pytest.fixture(scope="session")
def material(make_renderer: MakeRenderer) -> Material:
    """Three users with ten items each, of which no two share one; eight are for training.

    Preferences were written up to rows 3 and 6 of each user; intents are of rows 1, 4 and 8.
    """
    sequences = make_sequences([[*range(s, s + 10)] for s in (0, 10, 20)], [8, 8, 8])
    rows = make_rows(sequences, [(user, 0, end) for user in range(3) for end in range(1, 8)])
    ratings = np.array([float(i % 5 + 1) for i in range(30)])
    ratings[[3, 14]] = np.nan
    written = [10 * user + at for user in range(3) for at in (3, 6)]
    preferences = Texts(
        [f"Wants piers before {row:02d}" for row in written],
        user_ids=[f"u{row // 10}" for row in written],
        rows=np.array(written),
    )
    catalog = make_renderer().catalog
    return Material(catalog, sequences, rows, 5, ratings=ratings, texts=preferences)


@pytest.fixture(scope="session")
def intents() -> Texts:
    """Three intents a user, each tied to an interaction; the last of each is held out."""
    rows = [10 * user + at for user in range(3) for at in (1, 4, 8)]
    return Texts(
        [f"seeks a harbor like no. {row:02d}" for row in rows],
        item_ids=[f"id{row}" for row in rows],
        user_ids=[f"u{row // 10}" for row in rows],
        rows=np.array(rows),
    )
