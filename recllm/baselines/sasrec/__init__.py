"""SASRec (Kang & McAuley, "Self-Attentive Sequential Recommendation", 2018, arXiv:1808.09781).

A causal transformer over the items of a history; an item's score is the product of its vector
with the hidden state after the last item.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recllm.baselines.ranking import BaselineRanking, rank_by_keys
from recllm.baselines.sasrec._network import Network
from recllm.baselines.sasrec._packing import Packed, by_length
from recllm.baselines.sasrec._training import EpochFigures, Training
from recllm.catalog.histories import Spans
from recllm.config.sasrec_section import SasrecSection
from recllm.errors import UserError
from recllm.metrics.ranking import compute

__all__ = ["EpochFigures", "HeldOut", "SasRec"]

WEIGHTS_FILE, SETTINGS_FILE = "model.safetensors", "settings.json"
#: What training is stopped by, and what is told beside.
METRICS = ("hit@10", "ndcg@10")
#: Tokens that go through the network, and scores that are held, at a time.
_TOKENS, _CELLS = 1 << 14, 1 << 22


@dataclass(frozen=True)
class HeldOut:
    """Rows that are ranked to choose by: histories, their targets, and what is not recommended."""

    histories: Spans
    targets: NDArray[np.int32]
    excluded: Spans | None = None


class SasRec:
    """A trained SASRec.

    Attributes:
        settings: of its size and its training.
        items: how many there are in the catalogue.
    """

    def __init__(self, settings: SasrecSection, items: int) -> None:
        self.settings, self.items = settings, items
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = Network(items, settings).to(self._device).eval()

    @classmethod
    def fit(  # noqa: PLR0917 (what it is, what it learns from, how it is watched)
        cls,
        sequences: Spans,
        items: int,
        settings: SasrecSection,
        seed: int = 0,
        valid: HeldOut | None = None,
        on_epoch: Callable[[EpochFigures], None] = lambda _: None,
    ) -> "SasRec":
        """Train on sequences over a catalogue of `items` items; the same seed gives the same.

        Args:
            valid: rows whose ndcg@10 stops the training and chooses the epoch. Without rows all
                epochs are trained, and the last is taken.
            on_epoch: called after each.

        Raises:
            UserError: there is nothing to train on.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = cls(settings, items)

            def validate() -> dict[str, float]:
                if valid is None or not len(valid.targets):
                    return {}
                ranks = model.target_ranks(valid)
                return {name: float(compute(name, ranks).mean()) for name in METRICS}

            training = Training.of(settings, sequences, items, validate)
            model._network.load_state_dict(training.run(model._network, seed, on_epoch))
        model._network.eval()
        return model

    def scores(self, histories: Spans) -> NDArray[np.float32]:
        """(histories, items) before any softmax; all 0 after an empty history."""
        return self._scores_of(self._states(histories)).cpu().numpy()

    def rank(
        self,
        histories: Spans,
        targets: NDArray[np.int32],
        beams: int,
        excluded: Spans | None = None,
        only: Spans | None = None,
    ) -> BaselineRanking:
        """Rank the catalogue for each row, ties by item index; see `rank_by_keys`."""
        states = self._states(histories)

        def keys_of(rows: slice) -> NDArray[np.int64]:
            ordered = _order_preserving(self._scores_of(states[rows]).cpu().numpy())
            return ordered * self.items + np.arange(self.items)[::-1]

        return rank_by_keys(keys_of, self.items, targets, beams, excluded, only=only)

    def target_ranks(self, rows: HeldOut) -> NDArray[np.int64]:
        """(rows,) the 0-based rank of each target, -1 where it is excluded; as `rank`, faster."""
        states = self._states(rows.histories)
        step = max(1, _CELLS // self.items)
        places = [slice(s, s + step) for s in range(0, len(rows.targets), step)]
        found = [self._target_ranks(states[place], rows, place) for place in places]
        return np.concatenate([*found, np.empty(0, dtype=np.int64)])

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `settings.json` into a folder."""
        weights = {name: w.contiguous().cpu() for name, w in self._network.state_dict().items()}
        save_file(weights, folder / WEIGHTS_FILE)
        described = {"items": self.items, "settings": self.settings.model_dump(mode="json")}
        (folder / SETTINGS_FILE).write_text(json.dumps(described, indent=2))

    @classmethod
    def load(cls, folder: Path) -> "SasRec":
        """What `save` wrote.

        Raises:
            UserError: it is not there, or something else.
        """
        try:
            described = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            settings = SasrecSection.model_validate(described["settings"])
            model = cls(settings, int(described["items"]))
            model._network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError,
                ValidationError) as error:  # fmt: skip
            raise UserError(f"{folder}: expected a trained SASRec, but: {error}") from None
        return model

    def _states(self, histories: Spans) -> Tensor:
        """(histories, width) the hidden state after the last item; 0 after an empty history."""
        starts = np.maximum(histories.starts, histories.ends - self.settings.max_length)
        recent = Spans(histories.items, starts, histories.ends)
        states = torch.zeros(len(recent), self.settings.width, device=self._device)
        self._network.eval()
        with torch.no_grad():
            for chosen in _parts(recent):
                spans = recent.select(chosen)
                hidden = self._network(Packed.pack(spans, self._device))
                states[torch.from_numpy(chosen)] = hidden[np.cumsum(spans.lengths) - 1]
        return states

    @torch.no_grad()
    def _scores_of(self, states: Tensor) -> Tensor:
        return states @ self._network.items.weight.T

    def _target_ranks(self, states: Tensor, rows: HeldOut, place: slice) -> NDArray[np.int64]:
        scores = self._scores_of(states)
        targets = torch.from_numpy(rows.targets[place].astype(np.int64)).to(self._device)[:, None]
        own = scores.gather(1, targets)
        if rows.excluded is not None:
            row, item = rows.excluded.select(place).flatten()
            scores[torch.from_numpy(row), torch.from_numpy(item.astype(np.int64))] = -torch.inf
        gone = scores.gather(1, targets) == -torch.inf
        before = torch.arange(self.items, device=self._device) < targets
        ahead = (scores > own) | ((scores == own) & before)
        return torch.where(gone[:, 0], -1, ahead.sum(dim=1)).cpu().numpy()


def _parts(spans: Spans) -> Iterator[NDArray[np.int64]]:
    """Those that are not empty, ordered by length, so many at a time that memory is bounded."""
    order = by_length(spans)
    order = order[spans.lengths[order] > 0]
    part = np.cumsum(spans.lengths[order]) // _TOKENS
    edges = np.flatnonzero(np.diff(part)) + 1
    yield from (chosen for chosen in np.split(order, edges) if len(chosen))


def _order_preserving(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers from 0 to 2³² - 1 in the order of the scores; equal only where these are."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # -0 becomes 0
    return np.where(bits < 0, ~bits, bits + (1 << 31))
