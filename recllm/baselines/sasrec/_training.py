"""Training of SASRec: steps over packed sequences, stopped by validation, the best kept."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.baselines.sasrec._losses import Negatives, binary_cross_entropy, cross_entropy
from recllm.baselines.sasrec._network import Network
from recllm.baselines.sasrec._packing import Packed, by_length, to_tensor
from recllm.catalog.histories import Spans
from recllm.config.sasrec_section import SasrecSection
from recllm.errors import UserError
from recllm.progress import progress

#: Of Adam, as in the paper.
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class EpochFigures:
    """A line of the training's log.

    Attributes:
        loss: the mean over the steps.
        metrics: of validation, by name; empty without validation rows.
        seconds: of the epoch, with its validation.
    """

    epoch: int
    loss: float
    metrics: dict[str, float]
    seconds: float

    def as_row(self) -> dict[str, float]:
        """With the metrics beside the rest."""
        row = asdict(self)
        return row | row.pop("metrics")


@dataclass(frozen=True)
class Training:
    """How a network is trained on sequences.

    Attributes:
        windows: every item but the first of each is a target.
        validate: the metrics of the network as it is.
    """

    settings: SasrecSection
    windows: Spans
    negatives: Negatives | None
    validate: Callable[[], dict[str, float]]

    @classmethod
    def of(
        cls,
        settings: SasrecSection,
        sequences: Spans,
        items: int,
        validate: Callable[[], dict[str, float]],
    ) -> "Training":
        """A training on sequences, of which those with fewer than two items teach nothing.

        Raises:
            UserError: there are no targets, or, where a loss draws negatives, no negatives.
        """
        windows = cut_windows(sequences, settings.max_length)
        if not len(windows):
            raise UserError(
                "sasrec: expected training sequences of two items or more, found none; check the "
                "split's counts"
            )
        negatives = None
        if settings.loss == "bce":
            negatives = Negatives(windows, items)
            if negatives.fewest < 1:
                raise UserError(
                    "sasrec.loss: bce draws items that a sequence does not have, but one has all "
                    f"{items}; set sasrec.loss: cross-entropy"
                )
        return cls(settings, windows, negatives, validate)

    def run(
        self, network: Network, seed: int, on_epoch: Callable[[EpochFigures], None]
    ) -> dict[str, Tensor]:
        """The weights of the epoch with the highest validation ndcg@10; without it, the last."""
        settings, generator = self.settings, np.random.default_rng(seed)
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=settings.learning_rate,
            betas=BETAS,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        best, best_epoch, weights = -1.0, 0, {}
        with progress("sasrec, epochs", settings.epochs) as advance:
            for epoch in range(1, settings.epochs + 1):
                start = time.perf_counter()
                losses = list(self._epoch(network, optimizer, generator))
                metrics = self.validate()
                seconds = time.perf_counter() - start
                on_epoch(EpochFigures(epoch, float(np.mean(losses)), metrics, seconds))
                advance(1)
                figure = metrics.get("ndcg@10", float(epoch))
                if figure > best:
                    best, best_epoch = figure, epoch
                    weights = {name: w.clone() for name, w in network.state_dict().items()}
                if epoch - best_epoch >= settings.patience:
                    break
        return weights

    def _epoch(
        self, network: Network, optimizer: torch.optim.Optimizer, generator: np.random.Generator
    ) -> Iterator[float]:
        """One pass over the windows in a random order; the loss of each step."""
        network.train()
        order = generator.permutation(len(self.windows))
        size = self.settings.batch_size
        for start in range(0, len(order), size):
            loss = self._loss(network, order[start : start + size], generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()

    def _loss(
        self, network: Network, chosen: NDArray[np.int64], generator: np.random.Generator
    ) -> Tensor:
        device = network.norm.weight.device
        chosen = chosen[by_length(self.windows.select(chosen))]
        windows = self.windows.select(chosen)
        inputs = Spans(windows.items, windows.starts, windows.ends - 1)
        owner, targets = Spans(windows.items, windows.starts + 1, windows.ends).flatten()
        hidden, vectors = network(Packed.pack(inputs, device)), network.items.weight
        if self.negatives is None:
            dtype = getattr(torch, self.settings.dtype)
            return cross_entropy(hidden, vectors, to_tensor(targets, device), dtype)
        drawn = to_tensor(self.negatives.draw(chosen[owner], generator), device)
        return binary_cross_entropy(hidden, vectors, to_tensor(targets, device), drawn)


def cut_windows(sequences: Spans, length: int) -> Spans:
    """Sequences cut so that each window has at most `length` targets and every target is in one.

    A window begins with the item before its first target; the last of a sequence is full.
    Sequences without a target have none.
    """
    targets = np.maximum(sequences.lengths - 1, 0)
    count = -(-targets // length)
    owner = np.repeat(np.arange(len(sequences)), count)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    ends = sequences.ends[owner] - nth * length
    starts = np.maximum(ends - length - 1, sequences.starts[owner])
    return Spans(sequences.items, starts, ends)
