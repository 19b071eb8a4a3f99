"""Models by name: a Hub id, or the folder of a model or of an adapter, which is merged."""

import logging
import tempfile
from pathlib import Path
from typing import Any, get_args

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from recllm.config.model_section import Tuning
from recllm.errors import UserError
from recllm.models.checkpoint_files import reading
from recllm.models.quantisation import compute_as_trained, quantisation
from recllm.models.references import (
    ADAPTER_WEIGHTS,
    DESCRIPTION,
    BaseReference,
    check_base,
    is_adapter,
)
from recllm.models.tokenizers import cannot_load, load_tokenizer_of
from recllm.models.tuned import TunedModel, does_not_fit

log = logging.getLogger(__name__)


def load_model(
    name: str,
    dtype: torch.dtype,
    *,
    tuning: Tuning = "full",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A causal language model by name; where that is an adapter, it is merged into its base.

    Args:
        tuning: `qlora` and `lora-8bit` load it in 4 or 8 bits.

    Raises:
        UserError: it cannot be loaded, or an adapter's base is not the right one.
    """
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": revision}
    options = {key: value for key, value in options.items() if value}
    if is_adapter(name):
        model = load_merged(Path(name), dtype, **options)
        quantised = quantisation(tuning, dtype)
        if not quantised:
            return model
        with tempfile.TemporaryDirectory() as folder:  # only what is loaded can be quantised
            model.save_pretrained(folder)
            del model
            return _from_pretrained(folder, dtype, quantised | options)
    return _from_pretrained(name, dtype, quantisation(tuning, dtype) | options)


def load_merged(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """The base of an adapter with the adapter merged into it, in full precision.

    A base that was quantised for training is that one, made full precision again: what the adapter
    has been trained on.

    Args:
        folder: an adapter of recllm, or a plain peft one of LoRA.

    Raises:
        UserError: as `load_model`.
    """
    check_base(str(folder))
    if (folder / DESCRIPTION).is_file():
        merged: Any = load_tuned(folder, dtype, dequantised=True)
    else:
        merged = _load_plain_adapter(folder, dtype, options)
    model = merged.merge_and_unload()
    log.info("%s: an adapter, merged into its base", folder)
    return model


def load_tuned(folder: Path, dtype: torch.dtype, *, dequantised: bool = False) -> TunedModel:
    """The base and the adapter of a recommender, as they were saved.

    The base gets a row for each token of the tokenizer before; the new ones are the adapter's.

    Raises:
        UserError: the base is not there, or another; or the adapter is not whole.
    """
    base = BaseReference.of_adapter(folder)
    base.check(folder)
    with reading(folder) as description:
        tuning = description["tuning"]
        if tuning not in get_args(Tuning):
            raise ValueError(f"its tuning is {tuning!r}, not one of {', '.join(get_args(Tuning))}")
    model = load_model(base.name, dtype, tuning=tuning, revision=base.revision)
    if dequantised and getattr(model, "hf_quantizer", None) is not None:
        model = model.dequantize(dtype)
    _give_rows(model, load_tokenizer_of(str(folder)))
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise UserError(f"{folder}: expected an adapter of LoRA, found {config.peft_type}")
    tuned = TunedModel(model, config, base, tuning)
    tuned.load(folder)
    return tuned.eval()


def _load_plain_adapter(folder: Path, dtype: torch.dtype, options: dict[str, Any]) -> PeftModel:
    """An adapter that another program made, on its base."""
    base = BaseReference.of_adapter(folder)
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise UserError(f"{folder}: expected an adapter of LoRA, found {config.peft_type}")
    options = options | {"revision": base.revision}
    model = load_model(base.name, dtype, **{key: value for key, value in options.items() if value})
    _give_rows(model, load_tokenizer_of(str(folder)))
    try:
        tuned = PeftModel.from_pretrained(model, str(folder), config=config)
    except (RuntimeError, ValueError, IndexError) as error:
        raise does_not_fit(folder, error) from None
    _check_layers(folder, tuned)
    return tuned


def _check_layers(folder: Path, tuned: PeftModel) -> None:
    """Refuse an adapter of other layers than its base has, which peft passes over.

    Raises:
        UserError: it is one.
    """
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as weights:
        found = set(weights.keys())
    expected = set(get_peft_model_state_dict(tuned, save_embedding_layers=False))
    different = {name for name in found ^ expected if ".lora_" in name}
    if different:
        raise UserError(
            f"{folder}: the adapter does not fit its base: {len(different)} weights are not in "
            f"both, such as {min(different)}"
        )


def _give_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embedding: Any = model.get_input_embeddings()
    if len(tokenizer) > embedding.weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)


def _from_pretrained(name: str, dtype: torch.dtype, options: dict[str, Any]) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, use_safetensors=True, **options
        )
    except (OSError, ValueError) as error:
        raise UserError(cannot_load("model", name, error)) from None
    compute_as_trained(model)
    return model
