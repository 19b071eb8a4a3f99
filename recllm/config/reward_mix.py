"""The mix of rewards in a recipe: what each weighs, its options, and functions of the user's own.

`{rank: 1.0, semantic: {weight: 0.2}, my_package.rewards.fresh: 0.1}`
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from recllm.config.mix import (
    canonical_mix,
    find_plugin,
    make_plugin,
    mistake,
    refuse,
    split_keys,
    weight_mistakes,
)
from recllm.config.plugins import REWARDS

#: The key of a reward's value that is not its own option.
WEIGHT_KEYS = ("weight",)


@dataclass(frozen=True)
class UserFunction:
    """A reward that is a function of the user's own; stands where a `recllm.rewards.Reward` does.

    Attributes:
        name: its dotted path.
        function: from `recllm.rewards.Groups` to scores (groups, G).
    """

    name: str
    function: Callable[[Any], Any]

    needs_teacher: ClassVar[bool] = False
    needs_vectors: ClassVar[bool] = False
    needs_target: ClassVar[bool] = False

    @property
    def source(self) -> Path:
        """Its file, whose content decides the scores."""
        return Path(inspect.getfile(self.function))

    def scorer(self, facts: Any) -> Callable[[Any], Any]:
        """The function: it sees no facts."""
        del facts
        return self.function

    def model_dump(self, mode: str = "json") -> dict[str, Any]:
        """No options."""
        del mode
        return {}


@dataclass(frozen=True)
class RewardShare:
    """A reward and its part in the sum.

    Attributes:
        reward: a `recllm.rewards.Reward` with its options, or a `UserFunction`.
        weight: what its scores are multiplied by; 0 for one that is only reported.
    """

    reward: Any
    weight: float


def canonical_rewards(given: Mapping[str, Any]) -> dict[str, Any]:
    """The rewards by their names with hyphens; the value of each is its weight, or all its keys.

    A reward whose value is null is left out, as one is that an extended recipe has.

    Raises:
        ValidationError: with one error for each mistake, at the reward or the option that has it.
    """

    def read(name: str, value: Any) -> dict[str, Any]:
        share = read_reward(name, value)
        return {"weight": share.weight, **share.reward.model_dump(mode="json")}

    canonical = canonical_mix("reward", given, REWARDS.names(), read)
    if not any(share.weight for share in read_rewards(canonical)):
        message = "every reward weighs 0, so that there is nothing to train on; give one a weight"
        refuse("reward", [mistake((), message)])
    return canonical


def read_rewards(given: Mapping[str, Any]) -> list[RewardShare]:
    """The rewards of a mix that `canonical_rewards` gave, in its order."""
    return [read_reward(name, value) for name, value in given.items()]


def read_reward(name: str, given: Any) -> RewardShare:
    """A reward by the name and the value that a recipe gives it.

    Args:
        name: of a plugin, or the dotted path of a function, such as `my_package.rewards.fresh`.
        given: the weight, or {weight: …} with options of the reward beside it.

    Raises:
        ValidationError: there is no such reward, or something of its value is wrong.
    """
    weight, options = split_keys(given)
    if "." in name:
        reward = UserFunction(name, _import(name))
        message = f"{name} is a function, which takes no options but weight"
        wrong = [mistake((name, key), message) for key in options]
    else:
        reward, wrong = make_plugin(find_plugin(REWARDS, name), name, options, WEIGHT_KEYS)
    refuse("reward", [*weight_mistakes("reward", name, given, or_zero=True), *wrong])
    return RewardShare(reward, float(weight))


def _import(path: str) -> Callable[[Any], Any]:
    """The function at a dotted path.

    Raises:
        ValidationError: it cannot be imported, or is no function.
    """
    module, _, member = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), member, None)
    except Exception as error:  # whatever a user's module raises when it is imported
        problem = f"the module {module!r} cannot be imported: {error!r}"
    else:
        if inspect.isfunction(found):
            return found
        problem = f"{module!r} has no function {member!r}"
    message = (
        f"expected the dotted path of a function, but {problem}; it must be installed, or in a "
        "folder of PYTHONPATH"
    )
    raise ValidationError.from_exception_data("reward", [mistake((path,), message)])
