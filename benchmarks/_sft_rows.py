"""Training rows as long as those of MiniOneRec on Industrial_and_Scientific, of random tokens.

What is counted there: SIDs of three tokens, with a comma in a history; titles by the pieces that
Qwen's tokenizer splits text into first, so at least as many tokens; the words of MiniOneRec's
prompts likewise. Answers end with a line break and the end-of-sequence token.
"""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from recllm.prompts.training import IGNORED

#: Rows of the validation split with a history of 1, 2, … 10 items; ten is the most shown.
HISTORIES = (393, 531, 763, 947, 553, 392, 229, 171, 110, 443)
#: Tokens of a title: mean, standard deviation, least and most.
TITLE = (21.8, 9.1, 3, 67)
SID, LISTED, CLOSING = 3, 4, 2
#: Rows of the mix for each training interaction, and for each of the 3,686 items.
INTERACTIONS, ITEMS = 36_259, 3_686


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompts and of answers, one of each a row."""

    prompt: np.ndarray
    answer: np.ndarray

    def __str__(self) -> str:
        tokens = self.prompt + self.answer
        low, middle, high = np.quantile(tokens, [0.05, 0.5, 0.95])
        return (
            f"{len(tokens)} rows of {tokens.mean():.0f} tokens (5 %, 50 %, 95 %: {low:.0f}, "
            f"{middle:.0f}, {high:.0f}), {self.answer.sum() / tokens.sum():.1%} of them labels"
        )


def minionerec_lengths(rows: int) -> Lengths:
    """Lengths of rows of its four tasks, in the shares and the random order of its mix."""
    rng = np.random.default_rng(0)
    shares = np.array([INTERACTIONS, INTERACTIONS, ITEMS, ITEMS], dtype=float)
    task = rng.choice(len(shares), rows, p=shares / shares.sum())
    chances = np.array(HISTORIES) / sum(HISTORIES)
    history = LISTED * (1 + rng.choice(len(HISTORIES), rows, p=chances)) - 1
    mean, deviation, least, most = TITLE
    title = np.clip(rng.normal(mean, deviation, rows).round(), least, most).astype(int)
    # SIDs -> SID, SIDs -> title, title -> SID, SID -> title
    kinds = [task == 0, task == 1, task == 2]
    prompt = np.select(kinds, [79 + history, 82 + history, 57 + title], 57 + SID)
    answer = CLOSING + np.where(task % 2 == 0, SID, title)
    return Lengths(prompt, answer)


def random_rows(lengths: Lengths, vocabulary: int) -> Dataset:
    """`input_ids` and `labels` of rows of these lengths; no token is 0, the padding."""
    rng = np.random.default_rng(1)
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for prompt, answer in zip(lengths.prompt, lengths.answer, strict=True):
        ids = rng.integers(1, vocabulary, prompt + answer).tolist()
        rows["input_ids"].append(ids)
        rows["labels"].append([IGNORED] * int(prompt) + ids[prompt:])
    return Dataset.from_dict(rows)
