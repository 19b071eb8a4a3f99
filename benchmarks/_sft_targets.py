"""Tokens that a target costs: each in a row of its own, or all of a sequence in one pass."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from benchmarks._catalogue import random_sids
from recllm.catalog.histories import Sequences, Spans, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.plugins import TASKS
from recllm.models.tokenizers import add_sid_tokens, train_tokenizer
from recllm.prompts.examples import CatalogText
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import RECOMMENDATION_TASK
from recllm.prompts.template import Template
from recllm.prompts.training import TrainingRow, all_target_rows, last_target_rows

ITEMS, LEVELS, CODES = 800, 3, 256


def tokens_per_target(history: int, users: int = 50) -> tuple[float, float]:
    """Under `targets: all` and `targets: last`, where prompts show `history` items.

    Every user has one item more than a prompt shows, so that each item but the first is a target.
    """
    renderer, task = _renderer(history), TASKS.load(RECOMMENDATION_TASK)()
    rng = np.random.default_rng(0)
    spans = Spans.from_lists([rng.permutation(ITEMS)[: history + 1].tolist() for _ in range(users)])
    sequences = Sequences(
        user_ids=[str(user) for user in range(users)],
        items=spans.items,
        rows=np.arange(len(spans.items), dtype=np.int64),
        offsets=np.concatenate([spans.starts, spans.ends[-1:]]),
        train_ends=spans.lengths,
    )
    whole = _per_target(all_target_rows(renderer, task, sequences, 1.0, 0), users * history)
    rows = _one_row_each(sequences, history)
    single = _per_target(last_target_rows(renderer, task, rows, 1.0, 0), users * history)
    return whole, single


def _one_row_each(sequences: Sequences, history: int) -> SplitRows:
    sequence = np.repeat(np.arange(len(sequences)), history)
    end = np.tile(np.arange(1, history + 1), len(sequences))
    base = sequences.offsets[sequence]
    return SplitRows(
        row=base + end,
        user_ids=[sequences.user_ids[i] for i in sequence],
        sequence=sequence,
        start=np.zeros_like(end),
        end=end,
        target=sequences.items[base + end],
        histories=Spans(sequences.items, base, base + end),
    )


def _per_target(rows: Iterable[TrainingRow], targets: int) -> float:
    return sum(len(row.input_ids) for row in rows) / targets


def _renderer(history: int) -> Renderer:
    """With a vocabulary that has a token for most words of the instructions."""
    task = TASKS.load(RECOMMENDATION_TASK)
    titles = [f"Item {i}" for i in range(ITEMS)]
    items = Items(pa.table({"item_id": [str(i) for i in range(ITEMS)], "title": titles}))
    sids = SidIndex(items.ids, random_sids(ITEMS, LEVELS, CODES), CODES)
    tokenizer = train_tokenizer([*task.phrasings] * 9, 600)
    add_sid_tokens(tokenizer, sids)
    return Renderer(Template.load("plain"), CatalogText(items, sids), tokenizer, history)
