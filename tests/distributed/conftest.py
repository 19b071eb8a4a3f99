"""A tiny recipe, and its training in one process and in several."""

from collections.abc import Callable

import pytest
from faults import Place

RECIPE = """
extends: base/quickstart
data: {source: simulated, users: 110, items: 50, k_core: 3}
embed: {dimensions: 8}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 5}}
model:
  dtype: float32
  from_scratch: {hidden: 32, layers: 2, heads: 2, dropout: 0, vocabulary: 300}
sft:
  validation_users: 60
  trainer:
    learning_rate: 5.0e-3
    per_device_train_batch_size: 16
    max_steps: 32
    logging_steps: 1
    eval_strategy: steps
    eval_steps: 32
    save_strategy: steps
    save_steps: 32
"""
HALF = "sft.trainer.per_device_train_batch_size=8"

Train = Callable[..., Place]


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="session")
def trained(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains the recipe once for each way that is asked for."""
    known: dict[tuple[str, ...], Place] = {}

    def train(loss: str, *options: str) -> Place:
        if (loss, *options) not in known:
            overrides = (f"sft.loss={loss}", f"eval.scoring={loss}", *([HALF] if options else []))
            place = Place(tmp_path_factory.mktemp("trained"), recipe, overrides)
            place.finish("sft", *options)
            known[loss, *options] = place
        return known[loss, *options]

    return train
