"""Titles that a checkpoint writes, and titles as the checkpoint's own vectors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recllm.decoding.batching import default_batch_tokens, pad_prompts, plan_batches
from recllm.models.recommender import Recommender
from recllm.prompts.training import end_token

#: Titles that are not the catalogue's may be a little longer than its longest.
SLACK = 4


class TitleWriter:
    """Generates without a constraint, and embeds by the last hidden state.

    Attributes:
        tokens: how many tokens the titles of the last `write` have, with their ends.
    """

    def __init__(self, recommender: Recommender, beams: int, batch_tokens: int | None) -> None:
        self.tokens = 0
        self._model: Any = recommender.model.eval()
        self._renderer = recommender.renderer
        self._beams = beams
        self._budget = batch_tokens or default_batch_tokens(recommender.model.device)
        titles = self._renderer.encode_answers(recommender.sids.texts())
        self._longest = max(map(len, titles)) + SLACK

    def write(
        self, prompts: Sequence[Sequence[int]], progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """The likeliest title that beam search finds after each prompt, on one line."""
        titles = [""] * len(prompts)
        self.tokens = 0
        end, device = end_token(self._renderer), self._model.device
        for rows in self._batches([len(p) + self._longest for p in prompts], self._beams):
            width = max(len(prompts[row]) for row in rows)
            ids = torch.full((len(rows), width), end)
            mask = torch.zeros(len(rows), width, dtype=torch.int64)
            for place, row in enumerate(rows):  # on the left: generation goes on from the right
                ids[place, width - len(prompts[row]) :] = torch.tensor(list(prompts[row]))
                mask[place, width - len(prompts[row]) :] = 1
            with torch.inference_mode():
                found = self._model.generate(
                    input_ids=ids.to(device),
                    attention_mask=mask.to(device),
                    max_new_tokens=self._longest,
                    num_beams=self._beams,
                    do_sample=False,
                    eos_token_id=end,
                    pad_token_id=end,
                )
            for row, written in zip(rows, found[:, width:].tolist(), strict=True):
                length = written.index(end) if end in written else len(written)
                self.tokens += min(length + 1, len(written))
                text = self._renderer.tokenizer.decode(written[:length], skip_special_tokens=True)
                assert isinstance(text, str)
                titles[row] = " ".join(text.split())
            if progress is not None:
                progress(len(rows))
        return titles

    def embed(self, titles: Sequence[str]) -> NDArray[np.float32]:
        """(titles, hidden) the last layer's state at the last token of each; NaN for no title."""
        encoded = self._renderer.encode_prompts(titles)
        known = [place for place, title in enumerate(titles) if title]
        width = self._model.get_input_embeddings().weight.shape[1]
        vectors = np.full((len(titles), width), np.nan, dtype=np.float32)
        for rows in self._batches([len(encoded[place]) for place in known], 1):
            places = [known[row] for row in rows]
            batch, lengths = pad_prompts([encoded[place] for place in places], self._model.device)
            mask = torch.arange(batch.shape[1], device=batch.device) < lengths[:, None]
            with torch.inference_mode():
                states = self._model.get_decoder()(
                    input_ids=batch, attention_mask=mask.long(), use_cache=False
                ).last_hidden_state
            ends = torch.arange(len(places), device=batch.device), lengths - 1
            vectors[places] = states[ends].float().cpu().numpy()
        return vectors

    def _batches(self, lengths: Sequence[int], copies: int) -> list[list[int]]:
        return plan_batches([length * copies for length in lengths], 0, self._budget)
