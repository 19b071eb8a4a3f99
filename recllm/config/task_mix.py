"""The mix of tasks in a recipe: how often each is trained, at most how much, and its options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recllm.config.mix import (
    canonical_mix,
    find_plugin,
    make_plugin,
    mistake,
    refuse,
    split_keys,
    weight_mistakes,
)
from recllm.config.plugins import TASKS
from recllm.errors import UserError

#: The task that is asked by where a mix has several.
SEQREC = "seqrec"

#: The keys of a task's value that are not its own options.
SHARE_KEYS = ("weight", "cap")


@dataclass(frozen=True)
class TaskShare:
    """A task and its part in the mix.

    Attributes:
        task: a `recllm.prompts.tasks.Task` with its options.
        weight: how often each of its examples is taken: 1 once, 0.5 a random half of them, 2 twice.
        cap: at most so many rows, a random part of them; None: all.
    """

    task: Any
    weight: float
    cap: int | None


def canonical_tasks(given: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks by their names with hyphens; the value of each is its weight, or all its keys.

    A task whose value is null is left out, as one is that an extended recipe has.

    Raises:
        ValidationError: with one error for each mistake, at the task or the option that has it.
    """

    def read(name: str, value: Any) -> dict[str, Any]:
        share = read_share(name, value)
        options = share.task.model_dump(mode="json")
        return {"weight": share.weight, "cap": share.cap, **options}

    return canonical_mix("task", given, TASKS.names(), read)


def read_share(name: str, given: Any) -> TaskShare:
    """A task by the name and the value that a recipe gives it.

    Args:
        given: the weight, or {weight: …, cap: …} with options of the task beside them; both may
            be left out.

    Raises:
        ValidationError: there is no such task, or something of its value is wrong.
    """
    weight, options = split_keys(given)
    cap = options.pop("cap", None)
    task, errors = make_plugin(find_plugin(TASKS, name), name, options, SHARE_KEYS)
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
        message = f"expected a whole number of rows from 1, or null for all, found {cap!r}"
        errors = [mistake((name, "cap"), message), *errors]
    refuse("task", [*weight_mistakes("task", name, given), *errors])
    return TaskShare(task, float(weight), cap)


def asking_task(mix: Sequence[TaskShare], by_title: bool) -> Any:
    """The task by which a model that is trained on a mix is asked, in validation and after.

    `seqrec` where the mix has it, else the first task whose answers stand for items, else the
    first that gives verdicts.

    Args:
        by_title: whether items go by their titles.

    Raises:
        UserError: the mix has none of them.
    """
    ranking = ("always", "by title") if by_title else ("always",)
    tasks = [share.task for share in mix]
    asked = [task for task in tasks if task.ranks_items in ranking]
    asked.sort(key=lambda task: task.name != SEQREC)  # stable: else by the recipe's order
    asked += [task for task in tasks if task.verdicts]
    if asked:
        return asked[0]
    kinds = [TASKS.load(name) for name in TASKS.names()]
    known = [kind.name for kind in kinds if kind.ranks_items in ranking or kind.verdicts]
    raise UserError(
        f"sft.tasks ({', '.join(task.name for task in tasks)}) trains no task that can be asked "
        "for items or for a verdict, by which checkpoints are chosen and evaluated; add one of "
        f"{', '.join(known)}" + ("" if by_title else ", or bigrec with sid.quantizer: title")
    )
