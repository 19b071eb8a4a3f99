"""A base with an adapter: LoRA, the rows of the SID tokens, or both; all else stays as it was."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModelForCausalLM, get_peft_model_state_dict
from peft.utils.constants import DUMMY_TARGET_MODULES
from peft.utils.other import TrainableTokensWrapper
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from recllm.config.model_section import WITH_LORA, LoraSection, ModelSection, Tuning
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.models.model_names import find_model, require_bases
from recllm.models.quantisation import require_bitsandbytes
from recllm.models.references import ADAPTER_WEIGHTS, BaseReference, check_base

log = logging.getLogger(__name__)

NO_SID_ROWS = (
    "model.tuning: sid-rows trains the rows of SID tokens, but items go by their titles; set "
    "another sid.quantizer, or tuning: lora"
)


class TunedModel(PeftModelForCausalLM):
    """A causal language model with an adapter, whose files hold only what was trained.

    Attributes:
        base: the model that the adapter belongs to.
        tuning: how it is trained, and so how its base is loaded.
    """

    def __init__(
        self, model: PreTrainedModel, config: LoraConfig, base: BaseReference, tuning: Tuning
    ) -> None:
        super().__init__(model, config)
        self.base = base
        self.tuning: Tuning = tuning
        wrappers: list[Any] = [m for m in self.modules() if isinstance(m, TrainableTokensWrapper)]
        for wrapper in wrappers:
            wrapper.bias = None  # TRL's loss asks a head for it; the wrapper computes without

    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> None:
        """As peft does it, but never with whole embedding matrices."""
        options["save_embedding_layers"] = False
        super().save_pretrained(str(save_directory), *args, **options)

    def create_or_update_model_card(self, output_dir: str) -> None:
        """Nothing: a card belongs to what is pushed."""

    def load(self, folder: Path) -> None:
        """Take the weights of an adapter that `save_pretrained` wrote.

        Raises:
            UserError: it is not an adapter of this shape.
        """
        file = folder / ADAPTER_WEIGHTS
        if not file.is_file():  # peft would look on the Hub
            raise UserError(f"{folder}: expected an adapter, found no {ADAPTER_WEIGHTS}")
        with safe_open(file, framework="pt") as weights:
            found = set(weights.keys())
        different = found ^ set(get_peft_model_state_dict(self, save_embedding_layers=False))
        if different:
            raise UserError(
                f"{folder}: the adapter does not fit its base: {len(different)} weights are not in "
                f"both, such as {min(different)}"
            )
        try:
            self.load_adapter(str(folder), "default")
        except RuntimeError as error:
            raise does_not_fit(folder, error) from None


def does_not_fit(adapter: Path, error: Exception) -> UserError:
    """What to raise for an adapter that peft could not put on its base."""
    said = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return UserError(f"{adapter}: the adapter does not fit its base: {said}")


def check_tuning(recipe: Recipe) -> None:
    """Refuse, before any work, a base or a library that is missing, or nothing to train.

    Raises:
        UserError: there is such a thing.
    """
    model = recipe.model
    require_bitsandbytes(model.tuning)
    if model.tuning == "sid-rows" and recipe.sid.quantizer.name == "title":
        raise UserError(NO_SID_ROWS)
    if model.name is not None:
        folder = find_model(model.name).name
        check_base(folder)
        require_bases(Path(folder))


def prepare_for_tuning(
    model: PreTrainedModel, section: ModelSection, rows: Sequence[int], base: BaseReference
) -> Any:
    """The model as a recipe's `model.tuning` trains it: as it is, or a `TunedModel`.

    What is trained is float32, whatever the base is.

    Args:
        rows: the ids of the SID tokens.
        base: what `model` is.

    Raises:
        UserError: there is nothing to train, or a layer is named that the model does not have.
    """
    if section.tuning == "full":
        return model.requires_grad_(True)
    lora = section.lora or LoraSection()
    if section.tuning == "sid-rows" and not rows:
        raise UserError(NO_SID_ROWS)
    trains_rows = bool(rows) and (section.tuning == "sid-rows" or lora.train_sid_rows)
    head: Any = model.get_output_embeddings()
    if trains_rows and getattr(head, "bias", None) is not None:
        raise UserError(
            f"model.tuning: {section.tuning}: the head of {base.name} has a bias, which is lost "
            "where single rows are trained; set tuning: full"
        )
    tables = _tables(model)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base.name,
        revision=base.revision,
        trainable_token_indices={t: list(rows) for t in tables} if trains_rows else None,
        **(_lora_options(model, lora) if section.tuning in WITH_LORA else _NO_LORA),
    )
    tuned = TunedModel(model, config, base, section.tuning)
    trained, total = f"{keep_precision(tuned):,}", f"{model.num_parameters():,}"
    log.info("tuning %s: %s of %s parameters are trained", section.tuning, trained, total)
    return tuned


def keep_precision(model: nn.Module) -> int:
    """Make what a `TunedModel` trains float32, in which its small updates are not lost.

    TRL turns it into bfloat16 where the base is quantised; call this on its trainer's model,
    before it trains.

    Returns:
        How many parameters are trained.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if isinstance(model, TunedModel):
        for parameter in trained:
            parameter.data = parameter.data.float()
    return sum(p.numel() for p in trained)


#: For rows alone: LoRA on no layer.
_NO_LORA: dict[str, Any] = {"r": 1, "target_modules": DUMMY_TARGET_MODULES}


def _lora_options(model: PreTrainedModel, lora: LoraSection) -> dict[str, Any]:
    targets = lora.target_modules
    if targets != "all-linear":
        _check_targets(model, targets)
        targets = list(targets)
    return {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
    }


def _tables(model: PreTrainedModel) -> list[str]:
    """The names of the embedding and, where it has weights of its own, of the head."""
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    tables = [embedding] if head.weight is embedding.weight else [embedding, head]
    names = {module: name for name, module in model.named_modules()}
    return [names[table] for table in tables]


def _check_targets(model: PreTrainedModel, targets: Sequence[str]) -> None:
    """Refuse names that are no layer's, which peft would pass over, and the head's.

    Raises:
        UserError: there is one.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    linear: set[str] = set()
    for name, module in model.named_modules():
        if module is embedding or module is head:
            if any(_names(target, name) for target in targets):
                raise UserError(
                    f"model.lora.target_modules: {name} is the embedding or the head, of which "
                    "only the SID tokens' rows are trained; set train_sid_rows: true instead"
                )
        elif isinstance(module, nn.Linear):
            linear.add(name)
    for target in targets:
        if not any(_names(target, name) for name in linear):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise UserError(
                f"model.lora.target_modules: {target!r} is no linear layer of this model; it has "
                f"{known}"
            )


def _names(target: str, module: str) -> bool:
    return module == target or module.endswith(f".{target}")
