"""What the engine refuses, and with which words."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from beam_reference import VOCABULARY, make_model
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from recllm.catalog.trie import Trie
from recllm.decoding.engine import TreeDecoder
from recllm.errors import UserError

SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "pad_token_id": None,
}


def make_trie(first: int = 100) -> Trie:
    return Trie.from_sids(np.array([[0, 1], [1, 0], [1, 1]]), first + np.arange(4).reshape(2, 2))


@pytest.mark.parametrize(
    ("config", "model", "options", "message"),
    [
        (MambaConfig, MambaForCausalLM, {"state_size": 4}, "linear_attention.*mamba"),
        (Qwen3NextConfig, Qwen3NextForCausalLM, {"num_experts": 2}, "linear_attention.*qwen3_next"),
        (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 8.0}, "granite"),
        (CohereConfig, CohereForCausalLM, {"logit_scale": 0.1}, "cohere"),
        (Gemma2Config, Gemma2ForCausalLM, {"final_logit_softcapping": 0.5}, "gemma2"),
    ],
)
def test_models_that_would_be_decoded_wrongly_are_refused(
    config: Any, model: Any, options: dict[str, Any], message: str
) -> None:
    torch.manual_seed(0)
    built = model(config(**SIZE, **options))
    with pytest.raises(UserError, match=f"{message}.*generate"):
        TreeDecoder(built, make_trie(), beams=2)


def test_layers_that_ignore_the_mask_are_found_by_running(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.qwen3 import modeling_qwen3

    model = make_model("qwen3", attn_implementation="eager")
    attend = modeling_qwen3.eager_attention_forward

    def attend_to_all(*arguments: Any, **options: Any) -> Any:
        module, query, key, value, mask, *rest = arguments
        return attend(
            module,
            query,
            key,
            value,
            None if mask is not None and query.shape[-2] == 2 and key.shape[-2] == 3 else mask,
            *rest,
            **options,
        )

    monkeypatch.setattr(modeling_qwen3, "eager_attention_forward", attend_to_all)
    with pytest.raises(UserError, match="tree attention"):
        TreeDecoder(model, make_trie(), beams=2)


def test_a_forward_under_mixed_precision_is_no_reason_to_refuse() -> None:
    model = make_model("qwen3")
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)  # as a trainer wraps it
    TreeDecoder(model, make_trie(), beams=2)


def test_attention_that_takes_no_tree_mask_is_refused() -> None:
    model = make_model("qwen3")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UserError, match=r"flash_attention_2.*sdpa"):
        TreeDecoder(model, make_trie(), beams=2)


def test_a_head_with_an_adapter_is_refused() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(make_model("qwen3"), LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.raises(UserError, match=r"linear head.*merge"):
        TreeDecoder(model, make_trie(), beams=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "at least 1"),
        ({"beams": 2, "scoring": "token"}, "vocab, level, trie.*'token'"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TreeDecoder(make_model("qwen3"), make_trie(), **options)


def test_level_scoring_needs_paths_of_one_length() -> None:
    trie = Trie.from_token_sequences([[4], [5, 6]], eos=3)
    with pytest.raises(UserError, match="'level' needs"):
        TreeDecoder(make_model("qwen3"), trie, beams=2, scoring="level")


def test_tokens_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(UserError, match=f"token {VOCABULARY + 1}.*{VOCABULARY}; resize"):
        TreeDecoder(make_model("qwen3"), make_trie(VOCABULARY - 2), beams=2)


def test_an_encoder_decoder_is_refused() -> None:
    config = SimpleNamespace(is_encoder_decoder=True, model_type="t5", layer_types=None)
    config.get_text_config = lambda decoder: config
    with pytest.raises(UserError, match="decoder-only"):
        TreeDecoder(SimpleNamespace(config=config), make_trie(), beams=2)


def test_rows_that_do_not_fit_are_refused() -> None:
    decoder = TreeDecoder(make_model("qwen3"), make_trie(), beams=2)
    with pytest.raises(UserError, match="none in 1"):
        decoder.decode([[4], []])
    assert decoder.decode([[4] * 62]).items.shape == (1, 2)
    with pytest.raises(UserError, match=r"at most 62 tokens.*found 63 in prompt 1"):
        decoder.decode([[4], [4] * 63])
    with pytest.raises(UserError, match="exclude for 1 prompts, found it for 2"):
        decoder.decode([[4]], exclude=[[], []])
    with pytest.raises(UserError, match="items from 0 to 2"):
        decoder.decode([[4]], only=[[3]])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("mistral", {"sliding_window": 9}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    ],
)
def test_prompts_beyond_the_attention_window_are_refused(kind: str, options: Any) -> None:
    decoder = TreeDecoder(make_model(kind, **options), make_trie(), beams=2)
    decoder.decode([[4] * 7])
    with pytest.raises(UserError, match="at most 7 tokens"):
        decoder.decode([[4] * 8])


@pytest.mark.parametrize("scoring", ["vocab", "level", "trie"])
def test_nan_is_an_error(scoring: Any) -> None:
    model = make_model("qwen3")
    decoder = TreeDecoder(model, make_trie(), beams=2, scoring=scoring)
    with torch.no_grad():
        model.lm_head.weight[101] = torch.nan
    with pytest.raises(RuntimeError, match="NaN at item token 1"):
        decoder.decode([[4]])
