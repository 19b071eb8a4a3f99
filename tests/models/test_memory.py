"""The least memory that a training needs, in numbers."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from recllm.config.loading import load_recipe
from recllm.errors import UserError
from recllm.models.memory import (
    GIB,
    Job,
    ModelSize,
    estimate,
    model_size,
    trained_weights,
    what_fits,
)
from recllm.train.fits import require_room

#: Qwen2.5-7B, from its configuration.
LARGE = AutoConfig.for_model(
    "qwen2", vocab_size=152_064, hidden_size=3584, intermediate_size=18_944, num_hidden_layers=28,
    num_attention_heads=28, num_key_value_heads=4, tie_word_embeddings=False,
)  # fmt: skip


#: Qwen2.5-1.5B, from its configuration.
MIDDLE = AutoConfig.for_model(
    "qwen2", vocab_size=151_936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,
    num_attention_heads=12, num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def large() -> ModelSize:
    return model_size(LARGE, 152_064)


def test_the_sizes_of_a_model(large: ModelSize) -> None:
    assert large.total == 7_615_616_512  # as its card says: 7.61B
    assert large.table == 2 * 152_064 * 3584
    assert large.linear == 28 * (3584 * (2 * 3584 + 2 * 512) + 3 * 3584 * 18_944)
    assert (large.hidden, large.mlp, large.layers) == (3584, 18_944, 28)


@pytest.mark.parametrize("tied", [True, False])
def test_more_tokens_than_the_configuration_has(tied: bool) -> None:
    config = AutoConfig.for_model(
        "llama", vocab_size=100, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    built = AutoModelForCausalLM.from_config(config)
    assert model_size(config, 100).total == sum(p.numel() for p in built.parameters())
    assert model_size(config, 120).table == 120 * 16 * (1 if tied else 2)


def test_full_tuning_of_a_7b_model_needs_more_than_100_gib(large: ModelSize) -> None:
    needed = estimate(large, Job("full", batch=1, length=256))
    assert needed.weights == 4 * large.total
    assert needed.gradients == 4 * large.total
    assert needed.optimizer == 8 * large.total
    assert needed.total > 113 * GIB  # 16 bytes a weight
    eight_bit = estimate(large, Job("full", batch=1, length=256, optimizer=2.0))
    assert needed.total - eight_bit.total == 6 * large.total


def test_what_adapters_need(large: ModelSize) -> None:
    job = Job("lora", rank=16, batch=1, length=256)
    assert trained_weights(large, job) == 40_370_176  # as peft counts for rank 16, all-linear
    lora, qlora = estimate(large, job), estimate(large, replace(job, tuning="qlora"))
    eight_bit = estimate(large, replace(job, tuning="lora-8bit"))
    assert 14 * GIB < lora.weights < 15 * GIB
    assert 8 * GIB < eight_bit.weights < 9 * GIB
    assert 5 * GIB < qlora.weights < 6 * GIB
    assert qlora.gradients == 4 * 40_370_176
    assert qlora.optimizer == 8 * 40_370_176
    rows = replace(job, rows=768)
    assert trained_weights(large, rows) == 40_370_176 + 2 * 768 * 3584
    assert trained_weights(large, replace(rows, tuning="sid-rows")) == 2 * 768 * 3584
    more = estimate(large, rows)
    matrix = 152_064 * 3584
    assert more.activations - lora.activations == (2 * 2 + 4) * matrix


def test_activations_grow_with_the_batch(large: ModelSize) -> None:
    job = Job("qlora", batch=8, length=512)
    held = estimate(large, job).activations
    tile = 2 * 4096 * 32_768
    tokens = 8 * 512
    assert held - tile == 2 * tokens * (28 * 3584 + 8 * 3584 + 4 * 18_944)
    everything = estimate(large, replace(job, checkpointing=False)).activations
    assert everything - tile == 2 * tokens * 28 * (8 * 3584 + 4 * 18_944)


def test_what_does_not_fit_is_refused_with_what_would(large: ModelSize) -> None:
    job = Job("full", rows=768, batch=64, length=1024)
    require_room(large, job, 250 * GIB)
    with pytest.raises(UserError) as refused:
        require_room(large, job, 24 * GIB)
    said = str(refused.value)
    assert said.startswith("model.tuning: full with 64 rows of up to 1024 tokens at once needs")
    assert "but the GPU has 24.0" in said
    advice = re.findall(
        r"model\.tuning: (\w+), sft\.trainer\.per_device_train_batch_size: (\d+) "
        r"with sft\.trainer\.gradient_accumulation_steps: (\d+)", said.split("what would fit")[1],
    )  # fmt: skip
    assert [tuning for tuning, _, _ in advice] == ["lora", "qlora"]
    for tuning, batch, steps in advice:
        assert int(batch) * int(steps) == 64
        advised = replace(job, tuning=tuning, batch=int(batch))
        require_room(large, advised, 24 * GIB)
        with pytest.raises(UserError):
            require_room(large, replace(advised, batch=2 * advised.batch), 24 * GIB)


def test_the_recipe_for_one_24_gb_gpu_fits_it() -> None:
    recipe = load_recipe("single-24gb-gpu")
    section, lora, rows = recipe.model, recipe.model.lora, recipe.sid.levels * recipe.sid.codes
    assert section.name == "Qwen/Qwen2.5-1.5B" and lora is not None and lora.train_sid_rows
    size = model_size(MIDDLE, MIDDLE.vocab_size + rows)
    assert size.total == pytest.approx(1.54e9, rel=0.01)  # as its card says
    batch = recipe.sft.trainer["per_device_train_batch_size"]
    job = Job(section.tuning, lora.rank, rows, batch, length=1024)  # 20 titles and their SIDs
    assert estimate(size, job).total < 0.8 * 24 * 10**9
    with pytest.raises(UserError):
        require_room(size, replace(job, tuning="full", length=512), 24 * 10**9)


def test_where_nothing_fits_a_smaller_model_is_advised(large: ModelSize) -> None:
    with pytest.raises(UserError, match="what would fit: a smaller model, or shorter histories"):
        require_room(large, Job("lora"), 2 * GIB)


JOBS = st.builds(
    Job,
    tuning=st.sampled_from(["full", "lora", "qlora", "lora-8bit", "sid-rows"]),
    batch=st.integers(1, 256),
    length=st.integers(1, 4096),
    rows=st.integers(0, 2000),
)


@given(job=JOBS, available=st.floats(1.0, 300.0))
def test_what_is_said_to_fit_does(large: ModelSize, job: Job, available: float) -> None:
    needed = estimate(large, job)
    assert estimate(large, replace(job, batch=job.batch + 1)).total > needed.total
    assert estimate(large, replace(job, length=job.length + 1)).total > needed.total
    for other, steps in what_fits(large, job, available * GIB):
        assert estimate(large, other).total <= available * GIB
        assert other.batch * steps >= job.batch
        assert replace(other, tuning=job.tuning, batch=job.batch) == job
