"""Training rows: token ids with labels on the answers alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recllm.catalog.histories import History, Sequences, SplitRows
from recllm.catalog.sids import ItemIndex
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import HistoryTask
from recllm.prompts.template import ALL_TARGETS_TEMPLATE

IGNORED = -100
BATCH = 4096


@dataclass(frozen=True)
class TrainingRow:
    """One row for the trainer.

    Attributes:
        row: the log row of its last target, or of the last interaction that it was written from;
            None where it is of the catalogue alone.
        input_ids: prompt and answer(s).
        labels: the same ids where there is loss, -100 elsewhere.
    """

    task: str
    row: int | None
    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class _Draft:
    """A row before tokenisation: the loss is on the last `targets` items."""

    row: int
    items: History
    targets: int
    phrasing: int


def last_target_rows(
    renderer: Renderer,
    task: HistoryTask,
    rows: SplitRows,
    weight: float,
    seed: int,
    *,
    cap: int | None = None,
) -> Iterator[TrainingRow]:
    """One row of each (history, target), the answer closed by the end-of-sequence token.

    Args:
        weight: how often each row is taken: 1 once, 0.5 a random half of the rows, 2 twice.
        cap: at most so many rows, a random part of them; None: all.
    """
    rng = np.random.default_rng(seed)
    end = [end_token(renderer)]
    chosen = _take(len(rows), weight, rng, cap)
    answers_of, phrased = task.answers(renderer.catalog), len(renderer.phrasings(task))
    for first in range(0, len(chosen), BATCH):
        batch = chosen[first : first + BATCH]
        phrasings = rng.integers(phrased, size=len(batch))
        prompts = renderer.encode_prompts(
            [
                renderer.prompt_text(task, rows.history(i), phrasing)
                for i, phrasing in zip(batch, phrasings, strict=True)
            ]
        )
        answers = renderer.encode_answers([answers_of[int(rows.target[i])] for i in batch])
        for i, prompt, answer in zip(batch, prompts, answers, strict=True):
            labels = [IGNORED] * len(prompt) + answer + end
            yield TrainingRow(task.name, int(rows.row[i]), prompt + answer + end, labels)


def all_target_rows(
    renderer: Renderer,
    task: HistoryTask,
    sequences: Sequences,
    weight: float,
    seed: int,
    *,
    cap: int | None = None,
) -> Iterator[TrainingRow]:
    """A user's sequence in one pass, with loss on every item after the first.

    A sequence longer than a prompt may show is cut into windows that overlap by half a history;
    each target is trained once, in the first window that holds it. There is no end-of-sequence
    token: a sequence goes on after its last item.

    Raises:
        UserError: the template or task does not make a longer prompt continue a shorter one.
    """
    if not renderer.template.fits_all_targets:
        raise UserError(ALL_TARGETS_TEMPLATE)
    rng = np.random.default_rng(seed)
    drafts = list(_windows(sequences, renderer.max_history, len(renderer.phrasings(task)), rng))
    drafts = [drafts[i] for i in _take(len(drafts), weight, rng, cap)]
    for first in range(0, len(drafts), BATCH):
        yield from _render(renderer, task, drafts[first : first + BATCH])


def _windows(
    sequences: Sequences, max_history: int, phrasings: int, rng: np.random.Generator
) -> Iterator[_Draft]:
    stride = max(1, max_history // 2)
    training = sequences.training
    for index, items in enumerate(training):
        trained = 1  # the first item has no history
        for start in range(0, len(items), stride):
            stop = min(start + max_history + 1, len(items))
            if stop <= trained:
                break
            row = sequences.rows[training.starts[index] + stop - 1]
            phrasing = int(rng.integers(phrasings))
            yield _Draft(int(row), items[start:stop], stop - trained, phrasing)
            trained = stop


def _render(renderer: Renderer, task: HistoryTask, drafts: list[_Draft]) -> Iterator[TrainingRow]:
    texts = task.answers(renderer.catalog)
    prompts = renderer.encode_prompts(
        [renderer.prompt_text(task, d.items[:-1], d.phrasing) for d in drafts]
    )
    answers = renderer.encode_answers(
        ["".join(texts[item] for item in d.items[-d.targets :]) for d in drafts]
    )
    last = renderer.encode_answers([texts[d.items[-1]] for d in drafts])
    for draft, prompt, answer, final in zip(drafts, prompts, answers, last, strict=True):
        ids = prompt + final
        if ids[-len(answer) :] != answer:
            raise UserError(
                f"sft.targets: all: in task {task.name} the prompt of a longer history does not "
                "continue the prompt of a shorter one with its answer; use sft.targets: last"
            )
        yield TrainingRow(task.name, draft.row, ids, [IGNORED] * (len(ids) - len(answer)) + answer)


def check_depths(recipe: Recipe, index: ItemIndex) -> None:
    """Refuse paths of different lengths under settings that cannot say where an item ends.

    Raises:
        UserError: there are such settings.
    """
    conflict = recipe.depth_conflict()
    if conflict and index.variable_depth:
        raise UserError(conflict)


def end_token(renderer: Renderer) -> int:
    """The id of the end-of-sequence token, which every tokenizer that recllm loads has."""
    token = renderer.tokenizer.eos_token_id
    assert isinstance(token, int)
    return token


def _take(
    count: int, weight: float, rng: np.random.Generator, cap: int | None = None
) -> np.ndarray:
    """Indices of `count` rows, each `weight` times, in all at most `cap`; parts are random."""
    whole, fraction = divmod(weight, 1)
    part = np.sort(rng.permutation(count)[: round(fraction * count)])
    taken = np.concatenate([np.tile(np.arange(count), int(whole)), part]).astype(np.int64)
    if cap is None or cap >= len(taken):
        return taken
    return taken[np.sort(rng.permutation(len(taken))[:cap])]
