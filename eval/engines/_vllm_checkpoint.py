"""A checkpoint as vLLM takes it: a whole model, and LoRA beside it where there is one."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from peft import LoraConfig, get_peft_model_state_dict
from peft.utils.other import TrainableTokensWrapper
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from recllm.artifacts.atomic import creating
from recllm.artifacts.manifest import hash_json
from recllm.decoding.scoring import Head
from recllm.errors import UserError
from recllm.models.checkpoint_files import reading
from recllm.models.loading import load_tuned
from recllm.models.references import ADAPTER_WEIGHTS, fingerprint, is_adapter
from recllm.models.tokenizers import load_tokenizer_of
from recllm.models.tuned import TunedModel

log = logging.getLogger(__name__)

#: Of what `prepare` writes.
FORMAT = 1
#: In the prepared folder of an adapter: the base with the trained rows, and LoRA alone.
BASE, LORA = "base", "lora"
#: What these models do to the logits after the head, which `Head` does not.
_AFTER_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


@dataclass(frozen=True)
class Prepared:
    """What vLLM is to load.

    Attributes:
        model: the folder of a whole model, with a tokenizer.
        lora: the folder of an adapter of nothing but LoRA; None for none.
        rank: of that adapter.
    """

    model: Path
    lora: Path | None = None
    rank: int = 0

    def head(self) -> Head:
        """The output layer, read from the files alone.

        Raises:
            UserError: the model computes its logits in another way.
        """
        config = AutoConfig.from_pretrained(self.model)
        text = config.get_text_config(decoder=True)
        other = [name for name in _AFTER_THE_HEAD if getattr(text, name, None) not in (None, 1)]
        if other:
            raise UserError(
                f"{self.model}: expected logits that are the head's own, found {other[0]} in the "
                "configuration; set eval.engine: transformers"
            )
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        head: Any = model.get_output_embeddings()
        names = {id(tensor): name for name, tensor in model.named_parameters(remove_duplicate=True)}
        bias = getattr(head, "bias", None)
        weight = _read_tensor(self.model, names[id(head.weight)])
        return Head(weight, None if bias is None else _read_tensor(self.model, names[id(bias)]))


def prepare(checkpoint: Path, cache: Path, dtype: torch.dtype) -> Prepared:
    """A checkpoint as vLLM takes it; what has to be written for that is written once.

    vLLM refuses adapters with trained token rows. So the rows are put into the base, and LoRA is
    kept as an adapter. A base in 4 or 8 bits is made full precision again.

    Args:
        checkpoint: a folder that `Recommender.save` wrote.
        cache: where adapters are prepared, in folders by what they are made of.

    Raises:
        UserError: the base of an adapter is missing, or another.
    """
    if not is_adapter(checkpoint):
        return Prepared(checkpoint)
    name = str(dtype).removeprefix("torch.")
    key = hash_json([FORMAT, name, fingerprint(checkpoint)])[:16]
    folder = cache / key
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{key}.lock"):
        if not folder.is_dir():
            log.info("%s: preparing the adapter for vLLM", checkpoint)
            with creating(folder) as temporary:
                _write(checkpoint, temporary, dtype)
    lora = folder / LORA
    if not lora.is_dir():
        return Prepared(folder / BASE)
    config: Any = LoraConfig.from_pretrained(str(lora))
    return Prepared(folder / BASE, lora, config.r)


def _write(checkpoint: Path, folder: Path, dtype: torch.dtype) -> None:
    with reading(checkpoint):
        tuned: Any = load_tuned(checkpoint, dtype, dequantised=True)
    _write_lora(tuned, folder / LORA)
    for module in list(tuned.modules()):
        if isinstance(module, TrainableTokensWrapper):
            module.token_adapter.merge()
    base = tuned.unload()
    base.to(dtype).save_pretrained(folder / BASE)
    load_tokenizer_of(str(checkpoint)).save_pretrained(folder / BASE)


def _write_lora(tuned: TunedModel, folder: Path) -> None:
    weights = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    weights = {name: tensor.contiguous() for name, tensor in weights.items() if ".lora_" in name}
    if not weights:
        return
    config: Any = tuned.peft_config["default"]
    kept = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.r,
        lora_alpha=config.lora_alpha,
        target_modules=config.target_modules,
        use_rslora=config.use_rslora,
    )
    folder.mkdir()
    kept.save_pretrained(str(folder))
    save_file(weights, folder / ADAPTER_WEIGHTS)


def _read_tensor(folder: Path, name: str) -> torch.Tensor:
    """One tensor of a model's files.

    Raises:
        UserError: it is not there.
    """
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            if name in weights.keys():  # noqa: SIM118 (it is no mapping)
                return weights.get_tensor(name)
    raise UserError(f"{folder}: expected {name} in its safetensors, found no such weights")
