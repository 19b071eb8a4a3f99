"""What every section of a recipe has in common."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from recllm.config.registry import Registry


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors; defaults are checked like anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    #: The fields that choose a plugin: the registry and the name taken where none is given.
    choices: ClassVar[dict[str, tuple[Registry[Any], str]]] = {}
