"""Rewards: each gives a score to every item of a rollout.

A new reward is one file here: a class that extends `Reward`. A recipe weighs several
(`rl.rewards`), and may name a function of the user's own by its dotted path.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import History, Spans
from recllm.catalog.sids import ItemIndex
from recllm.config.registry import Plugin
from recllm.config.reward_mix import RewardShare, UserFunction
from recllm.errors import UserError


@dataclass(frozen=True)
class Groups:
    """What was recommended to some prompts.

    Attributes:
        rows: (groups,) int64, the log row of each target; -1 where there is none.
        histories: of each prompt, dense items, oldest first.
        targets: (groups,) int32, dense items; -1 where nobody knows what followed.
        items: (groups, G) int32, what was recommended in the rollout's order, best first, no
            item twice; -1 where there are fewer.
    """

    rows: NDArray[np.int64]
    histories: Sequence[History]
    targets: NDArray[np.int32]
    items: NDArray[np.int32]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(groups, G) where there is an item."""
        return self.items >= 0

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(groups, G) where the item is the target."""
        return self.present & (self.items == self.targets[:, None])


@dataclass(frozen=True)
class RewardFacts:
    """What rewards may be made of; no validation or test interaction is among it.

    Attributes:
        training: the training part of every sequence.
        sids: of the catalogue.
        vectors: the folder of the stage embed, for those that say that they need it.
        teacher: the folder of a trained SASRec, for those that say that they need it.
        items: how many there are in the catalogue.
    """

    training: Spans
    sids: ItemIndex
    vectors: Path | None
    teacher: Path | None
    items: int


#: Gives (groups, G) scores. What it gives absent items does not count.
Scorer: TypeAlias = Callable[[Groups], NDArray[np.float64]]


class Reward(Plugin):
    """Base of the rewards. Subclasses are one file each; their fields are options in recipes.

    No item scores higher than the target does in its place.
    """

    #: Whether it asks a trained SASRec.
    needs_teacher: ClassVar[bool] = False
    #: Whether it compares the vectors of the stage embed.
    needs_vectors: ClassVar[bool] = False
    #: Whether it says nothing where the target is not known.
    needs_target: ClassVar[bool] = True

    @abstractmethod
    def scorer(self, facts: RewardFacts) -> Scorer:
        """What scores groups; made once, so that it can prepare.

        Raises:
            UserError: the facts do not fit it.
        """


@dataclass(frozen=True)
class RewardScores:
    """The scores of groups.

    Attributes:
        total: (groups, G) float64, the weighted sum of the parts; 0 for absent items.
        parts: of each reward by its name, before it is weighed.
    """

    total: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]


class RewardMix:
    """The weighted sum of several rewards.

    Args:
        shares: as `recllm.config.reward_mix` reads them, each reward once.

    Raises:
        UserError: a reward needs what the facts do not have.
    """

    def __init__(self, shares: Sequence[RewardShare], facts: RewardFacts) -> None:
        self._parts = {
            share.reward.name: (share.weight, _scorer_of(share.reward, facts)) for share in shares
        }

    def score(self, groups: Groups) -> RewardScores:
        """The scores of groups.

        Raises:
            UserError: a reward gives something else than one finite number an item.
        """
        parts = {
            name: _checked(name, scorer(groups), groups)
            for name, (_, scorer) in self._parts.items()
        }
        total = np.zeros(groups.items.shape)
        for name, (weight, _) in self._parts.items():
            total += weight * parts[name]
        return RewardScores(total, parts)


def _scorer_of(reward: Reward | UserFunction, facts: RewardFacts) -> Scorer:
    if reward.needs_teacher and facts.teacher is None:
        raise UserError(
            f"the reward {reward.name!r} asks a trained SASRec, but there is none: give the folder "
            "of one, or leave the reward out"
        )
    if reward.needs_vectors and facts.vectors is None:
        raise UserError(
            f"the reward {reward.name!r} compares the vectors of the stage embed, but there are "
            "none: give its folder, or leave the reward out"
        )
    return reward.scorer(facts)


def _checked(name: str, found: object, groups: Groups) -> NDArray[np.float64]:
    """What a reward gave, held to what every reward promises; 0 for absent items."""
    expected = f"the reward {name!r}: expected one finite number for each item, an array of shape "
    expected += f"{groups.items.shape} (groups, items)"
    try:
        scores = np.array(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{expected}, found {type(found).__name__}: {error}") from None
    if scores.shape != groups.items.shape:
        raise UserError(f"{expected}, found shape {scores.shape}")
    scores[~groups.present] = 0
    if not np.isfinite(scores).all():
        group, place = np.argwhere(~np.isfinite(scores))[0]
        raise UserError(
            f"{expected}, found {scores[group, place]} for item {groups.items[group, place]} of "
            f"log row {groups.rows[group]}, in place {place}"
        )
    return scores
