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
from recllm.models.model_names import Place, find_model
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
    wanted: str = "model.name",
) -> PreTrainedModel:
    """A causal language model by name; where that is an adapter, it is merged into its base.

    Args:
        name: a folder, or user/name or user/name@revision on the Hub.
        tuning: `qlora` and `lora-8bit` load it in 4 or 8 bits.
        wanted: what names it, for messages.

    Raises:
        UserError: it cannot be loaded, or an adapter's base is not the right one.
    """
    place = find_model(name, revision)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    quantised = quantisation(tuning, dtype)
    if is_adapter(place.name):
        model = load_merged(Path(place.name), dtype, trust_remote_code=trust_remote_code)
        if not quantised:
            return model
        with tempfile.TemporaryDirectory() as folder:  # only what is loaded can be quantised
            model.save_pretrained(folder)
            del model
            return _from_pretrained(Place(folder), dtype, quantised | options, wanted)
    return _from_pretrained(place, dtype, quantised | options, wanted)


def load_merged(
    folder: Path, dtype: torch.dtype, *, trust_remote_code: bool = False
) -> PreTrainedModel:
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
        merged: Any = load_tuned(
            folder, dtype, dequantised=True, trust_remote_code=trust_remote_code
        )
    else:
        merged = _load_plain_adapter(folder, dtype, trust_remote_code)
    model = merged.merge_and_unload()
    log.info("%s: an adapter, merged into its base", folder)
    return model


def load_weights(folder: Path, dtype: torch.dtype, trust_remote_code: bool) -> Any:
    """The model of a recommender as it was saved: whole, or an adapter on its base.

    Raises:
        UserError: the weights are others than the folder says, or as `load_tuned`.
    """
    if is_adapter(folder):
        return load_tuned(folder, dtype, trust_remote_code=trust_remote_code)
    load: Any = AutoModelForCausalLM.from_pretrained  # not typed for output_loading_info
    try:
        model, told = load(
            folder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
        )
    except RuntimeError as error:
        if "mismatched_sizes" not in str(error):
            raise
        raise _other_weights(folder, "have other sizes than it says") from None
    if told["missing_keys"]:  # transformers would leave them random
        missing = sorted(told["missing_keys"])
        raise _other_weights(folder, f"lack {len(missing)} that it asks for, such as {missing[0]}")
    if told["unexpected_keys"]:
        others = sorted(told["unexpected_keys"])
        log.warning("%s: %d weights are not used, such as %s", folder, len(others), others[0])
    return model


def load_tuned(
    folder: Path,
    dtype: torch.dtype,
    *,
    dequantised: bool = False,
    trust_remote_code: bool = False,
) -> TunedModel:
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
    model = load_model(
        base.name,
        dtype,
        tuning=tuning,
        revision=base.revision,
        trust_remote_code=trust_remote_code,
        wanted=f"{folder}: the base of this adapter",
    )
    if dequantised and getattr(model, "hf_quantizer", None) is not None:
        model = model.dequantize(dtype)
    _give_rows(model, load_tokenizer_of(str(folder)))
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise UserError(f"{folder}: expected an adapter of LoRA, found {config.peft_type}")
    tuned = TunedModel(model, config, base, tuning)
    tuned.load(folder)
    return tuned.eval()


def _load_plain_adapter(folder: Path, dtype: torch.dtype, trust_remote_code: bool) -> PeftModel:
    """An adapter that another program made, on its base."""
    base = BaseReference.of_adapter(folder)
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise UserError(f"{folder}: expected an adapter of LoRA, found {config.peft_type}")
    model = load_model(
        base.name,
        dtype,
        revision=base.revision,
        trust_remote_code=trust_remote_code,
        wanted=f"{folder}: the base of this adapter",
    )
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


def _from_pretrained(
    place: Place, dtype: torch.dtype, options: dict[str, Any], wanted: str
) -> PreTrainedModel:
    options = options if place.revision is None else options | {"revision": place.revision}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            place.name, dtype=dtype, use_safetensors=True, **options
        )
    except (OSError, ValueError) as error:
        raise UserError(cannot_load("model", place, error, wanted)) from None
    compute_as_trained(model)
    return model


def _other_weights(folder: Path, how: str) -> UserError:
    return UserError(
        f"{folder}: the weights are not those of config.json: they {how}; copy both from where the "
        "model was saved"
    )
