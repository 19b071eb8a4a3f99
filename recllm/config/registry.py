"""Plugins: a class whose fields are its options, found by the name of its file.

A data source, split, encoder, quantizer, task or engine is one file in one folder. The file
`rq_kmeans.py` defines one subclass of the folder's base class and is named `rq-kmeans` in
recipes; nothing else has to be edited. A name that Python keeps for itself has an underscore
behind it in the file's: `import_.py` is `import`.
"""

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from recllm.errors import UserError


class Plugin(BaseModel):
    """Base of everything that a recipe chooses by name; its fields are the recipe's keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    #: The name in recipes: that of the plugin's file, with hyphens.
    name: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.name = _name_of(cls.__module__.rpartition(".")[2])


PluginType = TypeVar("PluginType", bound=Plugin)


class Registry(Generic[PluginType]):
    """The plugins of one kind: the modules of one package.

    The package is imported only when a plugin is asked for, so that the recipe schema, which
    stands to the left of every package that holds plugins, does not depend on them. Modules
    whose name starts with an underscore hold shared code and are passed over.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package

    def names(self) -> list[str]:
        """The names a recipe can choose from, sorted. Imports no plugin."""
        return sorted(self._modules())

    def _modules(self) -> dict[str, str]:
        """The module of each plugin, within the package, by the plugin's name."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            return {}
        modules = pkgutil.iter_modules(spec.submodule_search_locations)
        return {_name_of(m.name): m.name for m in modules if not m.name.startswith("_")}

    def load(self, name: str) -> type[PluginType]:
        """The plugin class called `name`; underscores and hyphens are the same.

        Raises:
            UserError: no plugin of this kind has that name.
        """
        modules = self._modules()
        if _name_of(name) not in modules:
            raise UserError(unknown_name(self.kind, name, self.names()))
        module = importlib.import_module(f"{self.package}.{modules[_name_of(name)]}")
        found: list[Any] = [
            member
            for member in vars(module).values()
            if inspect.isclass(member)
            and issubclass(member, Plugin)
            and member.__module__ == module.__name__
            and not member.__name__.startswith("_")
        ]
        if len(found) != 1:
            raise TypeError(
                f"{module.__name__} must define exactly one public {self.kind} class; "
                f"it defines {[c.__name__ for c in found]}"
            )
        return found[0]


def _name_of(module: str) -> str:
    """The name in recipes of a plugin's module."""
    return module.removesuffix("_").replace("_", "-")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where none is like it."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist, with the nearest that does."""
    known = list(known)
    close = nearest(name, known)
    hint = f"did you mean {close!r}? " if close else ""
    return f"unknown {kind} {name!r}; {hint}known: {', '.join(known)}"
