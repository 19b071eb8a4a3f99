"""The mix of tasks in a recipe: how often each is trained, at most how much, and its options."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from recllm.config.mistakes import explain, suggest
from recllm.config.plugins import TASKS
from recllm.config.registry import unknown_name
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
    canonical: dict[str, Any] = {}
    errors: list[InitErrorDetails] = []
    for name, value in given.items():
        plain = name.replace("_", "-")
        if plain in canonical:
            errors.append(_error((name,), f"the task {plain!r} stands twice; keep one", value))
            continue
        if value is None and plain in TASKS.names():
            continue
        canonical[plain] = value
        try:
            share = read_share(name, value)
        except ValidationError as error:
            errors += [_copied(detail) for detail in error.errors()]
            continue
        options = share.task.model_dump(mode="json")
        own = {"weight": share.weight, "cap": share.cap, **options}
        canonical[plain] = own if isinstance(value, Mapping) else share.weight
    if not canonical:
        errors.append(_error((), "expected a task, found all of them left out (null)"))
    if errors:
        raise ValidationError.from_exception_data("tasks", errors)
    return canonical


def read_share(name: str, given: Any) -> TaskShare:
    """A task by the name and the value that a recipe gives it.

    Args:
        given: the weight, or {weight: …, cap: …} with options of the task beside them; both may
            be left out.

    Raises:
        ValidationError: there is no such task, or something of its value is wrong.
    """
    options = dict(given) if isinstance(given, Mapping) else {"weight": given}
    weight, cap = options.pop("weight", 1.0), options.pop("cap", None)
    errors = [*_mistakes_of_share(name, weight, cap, isinstance(given, Mapping))]
    try:
        kind = TASKS.load(name)
    except UserError:
        message = unknown_name("task", name, TASKS.names())
        raise ValidationError.from_exception_data("tasks", [_error((name,), message)]) from None
    try:
        task = kind.model_validate(options)
    except ValidationError as error:
        for detail in error.errors():
            errors.append(_error((name, *detail["loc"]), _explain(detail, kind)))
        task = None
    if errors:
        raise ValidationError.from_exception_data("tasks", errors)
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


def _mistakes_of_share(name: str, weight: Any, cap: Any, has_keys: bool) -> list[InitErrorDetails]:
    errors = []
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 < weight < math.inf:
        message = f"the weight of task {name!r} must be above 0, found {weight!r}"
        errors.append(_error((name, "weight") if has_keys else (name,), message))
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
        message = f"expected a whole number of rows from 1, or null for all, found {cap!r}"
        errors.append(_error((name, "cap"), message))
    return errors


def _explain(detail: ErrorDetails, kind: Any) -> str:
    if detail["type"] == "extra_forbidden":
        known = {*SHARE_KEYS, *kind.model_fields}
        return f"unknown key; {suggest(str(detail['loc'][-1]), known)}"
    return explain(detail, kind)


def _error(loc: tuple[str | int, ...], message: str, found: Any = None) -> InitErrorDetails:
    # A brace would be taken for the place of a value.
    told = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=told, loc=loc, input=found)


def _copied(detail: ErrorDetails) -> InitErrorDetails:
    return _error(detail["loc"], detail["msg"], detail["input"])
