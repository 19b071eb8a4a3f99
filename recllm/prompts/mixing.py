"""Rows of the tasks beside sequential recommendation, for training and for evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recllm.catalog.histories import Sequences
from recllm.errors import UserError
from recllm.prompts.drawing import choose, draw
from recllm.prompts.examples import NOWHERE, Examples, Material
from recllm.prompts.leaks import check_examples
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import Task
from recllm.prompts.training import BATCH, IGNORED, TrainingRow, end_token


@dataclass(frozen=True)
class EvaluationPrompt:
    """One prompt of a task, without its answer.

    Attributes:
        row: the log row of its target; None where it has none.
        input_ids: the same token ids as a training row of this phrasing starts with.
        answer: what would be right, as text.
    """

    row: int | None
    input_ids: list[int]
    answer: str


def example_rows(
    renderer: Renderer,
    task: Task,
    examples: Examples,
    sequences: Sequences,
    *,
    weight: float,
    seed: int,
    cap: int | None = None,
) -> Iterator[TrainingRow]:
    """Training rows of a task's examples, each answer closed by the end-of-sequence token.

    Which examples are taken and which phrasing each has depends on the seed and on the example
    itself, not on the others. Of an example that is taken twice, each copy draws its own.

    Args:
        weight: how often each example is taken: 1 once, 0.5 a random half of them, 2 twice.
        cap: at most so many rows, a random part of them; None: all.

    Raises:
        UserError: the examples leak, an answer holds the end-of-sequence token, or the tokenizer
            cannot tell the task's verdicts apart.
    """
    check_examples(task.name, examples, sequences)
    verdict_tokens(renderer, task)
    end = end_token(renderer)
    index, copy = choose(examples.keys, weight, cap, seed, task.name)
    lots = np.zeros(len(index), dtype=np.uint64)
    for number in np.unique(copy).tolist():
        of_copy = copy == number
        keys = examples.keys[index[of_copy]]
        lots[of_copy] = draw(keys, seed, f"{task.name} phrasing", number)
    rows = examples.rows(sequences).tolist()
    for first in range(0, len(index), BATCH):
        batch = index[first : first + BATCH].tolist()
        prompts, texts = _encode(renderer, task, examples, batch, lots[first : first + BATCH])
        answers = renderer.encode_answers(texts)
        for i, prompt, answer in zip(batch, prompts, answers, strict=True):
            if end in answer or not answer:
                raise UserError(
                    f"task {task.name}: an answer has no tokens, or holds the end-of-sequence "
                    f"token: {examples.write(i).answer!r}; change that text, or leave out the task"
                )
            labels = [IGNORED] * len(prompt) + [*answer, end]
            yield TrainingRow(task.name, _row(rows[i]), [*prompt, *answer, end], labels)


def evaluation_prompts(
    renderer: Renderer,
    task: Task,
    material: Material,
    phrasing: int = 0,
    examples: Examples | None = None,
) -> Iterator[EvaluationPrompt]:
    """The prompts of a task for the rows of a material, such as those of valid or test.

    Args:
        phrasing: the same one for all of them.
        examples: those to ask, where they are not all that the task makes of the material.

    Raises:
        UserError: the task has no such phrasing, or a prompt would show its target.
    """
    known = min(len(renderer.phrasings(task, form)) for form in range(len(task.forms)))
    if not 0 <= phrasing < known:
        raise UserError(
            f"task {task.name}: expected a phrasing from 0 to {known - 1}, found {phrasing}"
        )
    examples = task.examples(material) if examples is None else examples
    check_examples(task.name, examples, material.sequences, held_out=True)
    rows = examples.rows(material.sequences).tolist()
    for first in range(0, len(examples), BATCH):
        batch = list(range(first, min(first + BATCH, len(examples))))
        lots = np.full(len(batch), phrasing, dtype=np.uint64)
        prompts, texts = _encode(renderer, task, examples, batch, lots)
        for i, prompt, text in zip(batch, prompts, texts, strict=True):
            yield EvaluationPrompt(_row(rows[i]), prompt, text)


def verdict_tokens(renderer: Renderer, task: Task) -> list[int]:
    """The token ids of a task's verdicts, such as Yes and No, whose probabilities are compared.

    Raises:
        UserError: one of them is more than one token, or two are the same.
    """
    ids = renderer.encode_words(task.verdicts)
    if any(len(tokens) != 1 for tokens in ids) or len({*map(tuple, ids)}) < len(ids):
        found = ", ".join(f"{v!r} is {len(t)}" for v, t in zip(task.verdicts, ids, strict=True))
        raise UserError(
            f"task {task.name} compares the answers {' and '.join(task.verdicts)}, each of which "
            f"must be one token of its own; in tokens, {found}; use another model.name, or raise "
            "model.from_scratch.vocabulary"
        )
    return [tokens[0] for tokens in ids]


def _encode(
    renderer: Renderer,
    task: Task,
    examples: Examples,
    batch: Sequence[int],
    lots: np.ndarray,
) -> tuple[list[list[int]], list[str]]:
    """The prompts of some examples as token ids, and their answers as texts."""
    phrasings = [renderer.phrasings(task, form) for form in range(len(task.forms))]
    written = [examples.write(i) for i in batch]
    prompts = [
        renderer.text(phrasings[e.form][lot % len(phrasings[e.form])], e.input)
        for e, lot in zip(written, lots.tolist(), strict=True)
    ]
    return renderer.encode_prompts(prompts), [example.answer for example in written]


def _row(row: int) -> int | None:
    return None if row == NOWHERE else row
