"""What holds for every plugin of every kind."""

import subprocess
import sys

import pytest

from recllm.config import plugins
from recllm.config.registry import Plugin, Registry
from recllm.errors import UserError

EVERY = [(registry, name) for registry in plugins.ALL for name in registry.names()]


@pytest.mark.parametrize("registry", plugins.ALL, ids=lambda registry: registry.kind)
def test_every_kind_has_a_plugin_and_refuses_unknown_names(registry: Registry) -> None:
    assert registry.names()
    near = registry.names()[0] + "x"
    with pytest.raises(UserError, match=f"did you mean '{registry.names()[0]}'"):
        registry.load(near)


@pytest.mark.parametrize(
    ("registry", "name"), EVERY, ids=lambda value: getattr(value, "kind", value)
)
def test_a_plugin_is_named_described_and_concrete(registry: Registry, name: str) -> None:
    plugin = registry.load(name)
    assert issubclass(plugin, Plugin)
    assert plugin.name == name
    assert plugin.__doc__ and plugin.__doc__ != Plugin.__doc__
    assert not getattr(plugin, "__abstractmethods__", None)
    assert registry.load(name.replace("-", "_")) is plugin


@pytest.mark.parametrize("registry", plugins.ALL, ids=lambda registry: registry.kind)
def test_options_of_plugins_do_not_clash_with_their_sections(registry: Registry) -> None:
    from recllm.config.schema import section_types

    for section in section_types().values():
        for field, (used, _) in section.choices.items():
            if used is not registry:
                continue
            others = set(section.model_fields) | set().union(
                *(o.load(n).model_fields for f, (o, _) in section.choices.items() if f != field
                  for n in o.names()),
            )  # fmt: skip
            for name in registry.names():
                assert not others & set(registry.load(name).model_fields), name


def test_a_recipe_is_checked_without_torch() -> None:
    code = (
        "import sys; from recllm.config.loading import load_recipe; load_recipe('demo');"
        "print([m for m in ('torch', 'transformers', 'trl', 'ibis', 'faiss') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
