"""Baselines with settings, chosen by ndcg@10 on validation rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from recllm.baselines.covisitation import CoVisitation
from recllm.baselines.item_knn import ItemKnn, Neighbours
from recllm.baselines.voting import Voting
from recllm.catalog.histories import Spans, SplitRows
from recllm.metrics.ranking.ndcg import ndcg

#: What is tried of `ItemKnn`; of equally good ones the first is taken.
NEIGHBOURS, SHRINKAGE, LAST = (20, 100), (0, 10, 100), (1, 3, 10)


class Voter(Protocol):
    """A baseline in which the items of a history vote."""

    def ask(self, histories: Spans) -> Voting:
        """The votes of each history."""
        ...


AnyVoter = TypeVar("AnyVoter", bound=Voter)


@dataclass(frozen=True)
class Validation:
    """The rows to choose by, and whether their histories are excluded."""

    rows: SplitRows
    exclude_history: bool

    def measure(self, voter: Voter) -> float:
        """ndcg@10 over the rows, of which there must be some."""
        excluded = self.rows.histories if self.exclude_history else None
        ranks = voter.ask(self.rows.histories).target_ranks(self.rows.target, excluded)
        return float(ndcg(ranks, 10).mean())

    def choose(self, voters: Iterable[tuple[str, AnyVoter]]) -> "Choice[AnyVoter]":
        """The best of some named ones, of equals the first; without rows, the first."""
        best: Choice[AnyVoter] | None = None
        figures: dict[str, float] = {}
        for name, voter in voters:  # two at a time: each may hold a large matrix
            if not len(self.rows):
                return Choice(name, voter, {})
            figures[name] = self.measure(voter)
            if best is None or figures[name] > figures[best.name]:
                best = Choice(name, voter, figures)
        assert best is not None, "there is nothing to choose from"
        return best


@dataclass(frozen=True)
class Choice(Generic[AnyVoter]):
    """What was chosen, and the validation ndcg@10 of all that was tried, by name."""

    name: str
    voter: AnyVoter
    figures: dict[str, float]


def choose_covisitation(
    training: Spans, items: int, validation: Validation
) -> tuple[CoVisitation, dict[str, Any]]:
    """S or S + Sᵀ: the chosen baseline, and what `choices.json` says of it."""
    names = {"S": False, "S + S^T": True}
    found = validation.choose(
        (name, CoVisitation.fit(training, items, symmetric)) for name, symmetric in names.items()
    )
    return found.voter, {"symmetric": names[found.name], "valid_ndcg@10": found.figures}


def choose_item_knn(
    training: Spans, items: int, validation: Validation
) -> tuple[ItemKnn, dict[str, Any]]:
    """How many neighbours, which shrinkage, how many votes; returns as `choose_covisitation`."""
    settings: dict[str, dict[str, int]] = {}

    def tried() -> Iterator[tuple[str, ItemKnn]]:
        for shrinkage in SHRINKAGE:
            found = Neighbours.find(training, items, max(NEIGHBOURS), shrinkage)
            for neighbours in NEIGHBOURS:
                similarities = found.nearest(neighbours)
                for last in LAST:
                    made = {"neighbours": neighbours, "shrinkage": shrinkage, "last": last}
                    name = ", ".join(f"{setting} {value}" for setting, value in made.items())
                    settings[name] = made
                    yield name, ItemKnn(similarities, found.counts, last)

    found = validation.choose(tried())
    return found.voter, {**settings[found.name], "valid_ndcg@10": found.figures}
