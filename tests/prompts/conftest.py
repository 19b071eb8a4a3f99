"""A small catalogue with a tokenizer, as prompts see it."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.models.tokenizers import add_sid_tokens, train_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

MakeRenderer = Callable[..., Renderer]


@pytest.fixture(scope="session")
def make_renderer() -> MakeRenderer:
    count, levels, codes = 40, 3, 4
    titles = [f"The {'silent' if i % 2 else 'loud'} harbor, volume {i}" for i in range(count)]
    items = Items(pa.table({"item_id": [f"id{i}" for i in range(count)], "title": titles}))
    numbers = np.arange(count)[:, None] // codes ** np.arange(levels) % codes
    sids = SidIndex(items.ids, numbers.astype(np.int32), codes)
    tokenizer = train_tokenizer(titles, 320)
    add_sid_tokens(tokenizer, sids)

    def make(template: str = "plain", max_history: int = 5) -> Renderer:
        return Renderer(Template.load(template), CatalogText(items, sids), tokenizer, max_history)

    return make
