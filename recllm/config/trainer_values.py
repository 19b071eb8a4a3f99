"""Values of a trainer block that TRL and transformers take, and then fail on while they train."""

from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "None": (type(None),),
}
#: Numbers that must be above 0, or the training has no step, no batch or never a log.
POSITIVE = (
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "logging_steps",
)


def find_mistake(name: str, value: Any, kinds: tuple[str, ...]) -> str | None:
    """What is wrong with a value: another type, or 0 or less where that leaves nothing to train.

    Args:
        kinds: the types that the field takes; unless all of them are simple, any value will do.
    """
    if set(kinds) <= set(TYPES) and not any(_fits(value, TYPES[kind]) for kind in kinds):
        expected = " or ".join(kind for kind in kinds if kind != "None")
        return f"expected {expected}, found {value!r}"
    if name in POSITIVE and not value > 0:
        return f"expected a number above 0, found {value!r}"
    return None


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    """Whether it is of the type; true and false are no numbers."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))
