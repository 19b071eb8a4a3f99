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


@pytest.mark.parametrize("add_target", [False, True])
@pytest.mark.parametrize("name", plugins.ROLLOUTS.names())
def test_a_rollout_draws_distinct_eligible_items(name: str, add_target: bool) -> None:
    """And its advantages are 0 for equal rewards, and a group's own affair."""
    import numpy as np
    import torch
    from beam_reference import make_model

    from recllm.catalog.trie import Trie
    from recllm.decoding.engine import TreeDecoder
    from recllm.decoding.noise import row_seeds

    codes = np.random.default_rng(0).integers(0, 4, (40, 3))  # some items share their SID
    trie = Trie.from_sids(codes, 100 + np.arange(12).reshape(3, 4)).without([39])
    decoder = TreeDecoder(make_model("qwen3"), trie, beams=3)
    rollout = plugins.ROLLOUTS.load(name)(add_target=add_target)
    groups, generations = 30, 5
    rng = np.random.default_rng(1)
    exclude = [rng.integers(0, 39, 8).tolist() for _ in range(groups)]
    exclude[1], exclude[2] = list(range(3, 39)), list(range(39))  # three are left, and none
    targets = torch.from_numpy(rng.integers(0, 40, groups))
    targets[0], targets[1], exclude[0] = 39, 2, []
    drawn = rollout.draw(
        decoder,
        [[5, 6, 7]] * groups,
        targets,
        generations=generations,
        seeds=row_seeds(0, torch.arange(groups), 0),
        exclude=exclude,
    )
    assert drawn.items.shape == (groups, generations) and drawn.items.dtype == torch.int64
    added = 0
    for items, target, excluded in zip(
        drawn.items.tolist(), targets.tolist(), exclude, strict=True
    ):
        allowed = set(range(39)) - set(excluded)
        found = items[: min(len(allowed), generations)]
        assert set(found) <= allowed and len(set(found)) == len(found)
        assert items[len(found) :] == [-1] * (generations - len(found))
        added += target in allowed and target in found
        assert not add_target or target not in allowed or target in found
    assert add_target or added < groups / 2  # else this shows nothing

    rewards, log_probs = torch.rand(groups, generations), -9 * torch.rand(groups, generations)
    for scale in (False, True):
        equal = rollout.advantages(torch.full_like(rewards, 0.3), log_probs, drawn, scale=scale)
        torch.testing.assert_close(equal, torch.zeros_like(equal), atol=1e-6, rtol=0)
        found = rollout.advantages(rewards, log_probs, drawn, scale=scale)
        assert found.dtype == log_probs.dtype and (found[drawn.items < 0] == 0).all()
        assert (found[0] != 0).any()
        other_rewards, other_log_probs = rewards + torch.rand(groups, generations), 2 * log_probs
        other_rewards[0], other_log_probs[0] = rewards[0], log_probs[0]
        others = rollout.advantages(other_rewards, other_log_probs, drawn, scale=scale)
        assert (others[3:] != found[3:]).any()
        torch.testing.assert_close(others[0], found[0])


def test_a_recipe_is_checked_without_torch() -> None:
    code = (
        "import sys; from recllm.config.loading import load_recipe; load_recipe('demo');"
        "print([m for m in ('torch', 'transformers', 'trl', 'ibis', 'faiss') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
