"""Values of a trainer block that TRL and transformers take, and then fail on while they train."""

from types import NoneType
from typing import Any, get_args, get_type_hints

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError

from recllm.errors import UserError

STRICT = {bool: StrictBool, int: StrictInt, float: StrictFloat | StrictInt, str: StrictStr}
#: Numbers that must be above 0, or the training has no step, no batch or never a log.
POSITIVE = (
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "logging_steps",
)


def check_values(given: dict[str, Any], config: type, path: str) -> None:
    """Hold a trainer block to the simple types of TRL's configuration.

    Raises:
        UserError: a value has another type, or is 0 or less where that leaves nothing to train.
    """
    hints = get_type_hints(config)
    for name, value in given.items():
        kinds = get_args(hints[name]) or (hints[name],)
        if set(kinds) <= {*STRICT, NoneType} and not _is_one_of(kinds, value):
            expected = " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)
            raise UserError(f"{path}.{name}: expected {expected}, found {value!r}")
        if name in POSITIVE and not value > 0:
            raise UserError(f"{path}.{name}: expected a number above 0, found {value!r}")


def _is_one_of(kinds: tuple[Any, ...], value: Any) -> bool:
    if value is None:
        return NoneType in kinds
    return any(_fits(STRICT[kind], value) for kind in kinds if kind is not NoneType)


def _fits(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True
