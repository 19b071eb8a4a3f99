"""A recipe's keys to a validated Recipe, or every mistake in it at once."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from recllm.config.mistakes import mistakes, suggest
from recllm.config.registry import Plugin, nearest
from recllm.config.schema import Recipe, Section, section_types
from recllm.config.trainer_fields import CONFIGS, trainer_fields
from recllm.config.trainer_values import find_mistake
from recllm.errors import UserError

BEST = "the best checkpoint is that with the highest validation ndcg@10, or auc for verdicts"
#: The sections that a recipe may go without.
OPTIONAL = {name for name, field in Recipe.model_fields.items() if field.default is None}
#: Fields that recllm sets for any of TRL's trainers, and why a recipe cannot.
_COMMON = {
    "output_dir": "recllm keeps checkpoints beside the artifact; set output_dir of the recipe",
    "seed": "set seed of the recipe",
    "metric_for_best_model": BEST,
    "greater_is_better": BEST,
    "load_best_model_at_end": "recllm always ends with the best checkpoint",
    "resume_from_checkpoint": "recllm resumes by itself; run the same command again",
    "push_to_hub": "training pushes nothing",
}
_ROLLOUTS = "rollouts come from the decoding engine; see rl.rollout"
_REWARDS = "set rl.rewards"
#: Fields of TRL's configurations that recllm sets, by stage.
OWNED = {
    "sft": {
        **_COMMON,
        "completion_only_loss": "the training rows carry their own labels: loss on answers alone",
        "assistant_only_loss": "the training rows carry their own labels: loss on answers alone",
        "dataset_kwargs": "the training rows are prepared already",
        "max_length": "set prompts.max_history",
        "packing": "not supported: training rows are batched by length",
    },
    "rl": {
        **_COMMON,
        "num_generations": "set rl.generations",
        "num_generations_eval": "validation ranks the catalogue",
        "max_completion_length": "an item has as many tokens as its SID",
        "shuffle_dataset": "set rl.order",
        "reward_weights": _REWARDS,
        "multi_objective_aggregation": _REWARDS,
        **dict.fromkeys(
            (
                "temperature",
                "top_p",
                "top_k",
                "min_p",
                "generation_kwargs",
                "repetition_penalty",
                "cache_implementation",
                "use_vllm",
                "use_transformers_continuous_batching",
            ),
            _ROLLOUTS,
        ),
        "mask_truncated_completions": "no item is cut off",
        "log_completions": "not supported",
        "use_liger_kernel": "not supported",
    },
}


def validate(raw: dict[str, Any]) -> Recipe:
    """Turn the keys of a recipe into a Recipe.

    Raises:
        UserError: with one line for each mistake: its dotted path, what was expected and found.
    """
    errors: list[str] = []
    values = dict(raw)
    for name, section in section_types().items():
        given = raw.get(name, {} if name not in OPTIONAL else None)
        if name in OPTIONAL and given is None:
            values.pop(name, None)
        elif given is None or isinstance(given, dict):
            values[name] = _validate_section(section, given or {}, name, errors)
    failed = {name for name in section_types() if values.get(name, "") is None}
    recipe = _construct(Recipe, values, "", errors, skip=failed)
    for name in OWNED:
        section = raw.get(name)
        if isinstance(section, dict) and isinstance(section.get("trainer"), dict):
            errors += _trainer_errors(section["trainer"], name)
    if recipe is None or errors:
        count = f"{len(errors)} mistake{'s' if len(errors) > 1 else ''}"
        raise UserError(f"the recipe has {count}:\n" + "\n".join(f"  {e}" for e in errors))
    return recipe


def dump(recipe: Recipe) -> dict[str, Any]:
    """The recipe as the keys that would give it: JSON values, every default written out."""
    return {
        name: _dump_section(value) if isinstance(value, Section) else _json(recipe, name)
        for name, value in ((name, getattr(recipe, name)) for name in type(recipe).model_fields)
    }


def _dump_section(section: Section) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in type(section).model_fields:
        if name in section.choices:
            plugin: Plugin = getattr(section, name)
            values[name] = plugin.name
            values.update(plugin.model_dump(mode="json"))
        else:
            values[name] = _json(section, name)
    return values


def _json(model: BaseModel, field: str) -> Any:
    return model.model_dump(mode="json", include={field})[field]


def _validate_section(
    section: type[Section], given: dict[str, Any], path: str, errors: list[str]
) -> Section | None:
    """Validate one section and the plugins that it names; collect what is wrong."""
    own = set(section.model_fields)
    values = {key: value for key, value in given.items() if key in own}
    left = {key: value for key, value in given.items() if key not in own}
    chosen_all = True
    for field, (registry, default) in section.choices.items():
        try:
            plugin = registry.load(str(given.get(field, default)))
        except UserError as error:
            errors.append(f"{path}.{field}: {error}")
            values[field] = None
            chosen_all = False
            continue
        options = {key: left.pop(key) for key in list(left) if key in plugin.model_fields}
        values[field] = _construct(plugin, options, path, errors)
        own |= set(plugin.model_fields)
    if chosen_all:  # else a key may belong to the plugin that was meant
        for key in left:
            errors.append(f"{path}.{key}: unknown key; {suggest(key, own)}")
    return _construct(section, values, path, errors)


def _construct(
    model: type[BaseModel],
    values: dict[str, Any],
    path: str,
    errors: list[str],
    skip: Iterable[str] = (),
) -> Any:
    """An instance of `model`, or None and its mistakes added to `errors`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors += mistakes(error, model, path, skip)
        return None


def _trainer_errors(trainer: dict[str, Any], stage: str) -> list[str]:
    """Keys of a trainer block that TRL's configuration does not have, or not with that value."""
    path, set_here = f"{stage}.trainer", OWNED[stage]
    known = trainer_fields(stage) if trainer else {}
    owned = [f"{path}.{key}: {set_here[key]}" for key in trainer if key in set_here]
    wrong = [
        f"{path}.{key}: {mistake}"
        for key, value in trainer.items()
        if key in known
        and key not in set_here
        and (mistake := find_mistake(key, value, known[key]))
    ]
    return [*owned, *wrong] + [
        f"{path}.{key}: TRL's {CONFIGS[stage][1]} has no such field"
        + (f"; did you mean {close!r}?" if (close := nearest(key, known)) else "")
        for key in trainer
        if key not in known
    ]
