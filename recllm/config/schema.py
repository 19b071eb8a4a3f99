"""What a recipe may say, section by section.

A section that chooses a plugin by name (`data.source: files`) takes that plugin's options beside
its own keys; validated, the field holds the plugin itself. `recllm.config.validation` does this.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from recllm.config import plugins
from recllm.config.eval_section import EvalSection
from recllm.config.hub_section import HubSection
from recllm.config.model_section import ModelSection
from recllm.config.rl_section import RlSection
from recllm.config.sasrec_section import SasrecSection
from recllm.config.section import Section
from recllm.config.spark_section import SparkSection
from recllm.config.task_mix import TaskShare, asking_task, canonical_tasks, read_share
from recllm.config.times import Moment, to_seconds


class DataSection(Section):
    """Where the log comes from, how it is filtered, how it is split."""

    choices: ClassVar = {
        "source": (plugins.SOURCES, "simulated"),
        "split": (plugins.SPLITS, "leave-one-out"),
    }

    source: Any
    split: Any
    k_core: int = Field(default=5, ge=0, description="0 keeps every user and item")
    user_k: int | None = Field(default=None, ge=0, description="k_core of the users alone")
    item_k: int | None = Field(default=None, ge=0, description="k_core of the items alone")
    min_rating: float | None = Field(
        default=None, allow_inf_nan=False, description="rows rated lower are left out"
    )
    since: Moment | None = Field(default=None, description="a date; what came before is left out")
    until: Moment | None = Field(default=None, description="a date; it and later are left out")
    min_title_length: int = Field(default=0, ge=0, description="characters; 0 keeps every item")
    unseen_items: Literal["drop", "keep"] = Field(
        default="drop", description="items of the items file that no interaction is of"
    )
    repeats: Literal["keep", "drop-consecutive", "drop-all"] = "keep"
    history_behaviors: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="others are left out; default: all stay"
    )
    target_behaviors: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="of those in histories; default: all of them"
    )
    drop_cold: bool = Field(
        default=False, description="leaves out valid and test targets without training interaction"
    )

    engine: Literal["duckdb", "spark"] = Field(
        default="duckdb", description="what runs ingest, filter and split; the tables are the same"
    )
    spark: SparkSection | None = Field(default=None, description="only with engine: spark")

    @property
    def core(self) -> tuple[int, int]:
        """The least number of interactions of a user, and of an item: `k_core` where not given."""
        user_k = self.k_core if self.user_k is None else self.user_k
        return user_k, self.k_core if self.item_k is None else self.item_k

    @property
    def has_history_only(self) -> bool:
        """Whether there may be behaviours in histories that are no targets."""
        target = self.target_behaviors
        return target is not None and set(target) != set(self.history_behaviors or ())

    @model_validator(mode="after")
    def _spark_is_used(self) -> "DataSection":
        if self.spark is not None and self.engine != "spark":
            raise ValueError(
                f"spark is set, but engine is {self.engine!r}; set engine: spark, or spark: null"
            )
        return self

    @model_validator(mode="after")
    def _window_is_open(self) -> "DataSection":
        since, until = self.since, self.until
        if since is not None and until is not None and to_seconds(since) >= to_seconds(until):
            raise ValueError(f"since ({since}) must be before until ({until})")
        return self

    @model_validator(mode="after")
    def _targets_are_in_histories(self) -> "DataSection":
        if self.history_behaviors is not None and self.target_behaviors is not None:
            others = sorted(set(self.target_behaviors) - set(self.history_behaviors))
            if others:
                raise ValueError(
                    "target_behaviors must be among history_behaviors "
                    f"({', '.join(self.history_behaviors)}), found {', '.join(others)}: a history "
                    "holds everything that its user did before; name them in both"
                )
        return self


class EmbedSection(Section):
    """How an item becomes a vector."""

    choices: ClassVar = {"encoder": (plugins.ENCODERS, "fusion")}

    encoder: Any
    dimensions: int = Field(
        default=64, ge=2, description="a pretrained model and a file keep their own width"
    )


class HealthSection(Section):
    """Limits that a set of SIDs must keep; crossing one fails the stage."""

    min_utilisation: float = Field(default=0.5, ge=0, le=1, description="codes used, first level")
    max_collision_rate: float = Field(default=0.9, ge=0, le=1, description="before resolution")
    max_resolution_cost: float = Field(default=0.25, ge=0, description="relative rise of the MSE")
    max_prefix_traffic: float = Field(
        default=0.9, ge=0, le=1, description="training interactions under one first code"
    )
    min_category_lift: float = Field(
        default=0.0, ge=0, description="same categories under one first code, times chance"
    )
    min_covisit_lift: float = Field(
        default=0.0, ge=0, description="neighbours in sequences under one first code, times chance"
    )


class SidSection(Section):
    """How an item becomes a semantic ID, or goes by its title."""

    choices: ClassVar = {"quantizer": (plugins.QUANTIZERS, "rq-kmeans")}

    quantizer: Any
    levels: int = Field(default=3, ge=1, le=8)
    codes: int = Field(default=256, ge=2, le=65536)
    health: HealthSection = HealthSection()


class PromptSection(Section):
    """How a history becomes text."""

    template: str = Field(default="plain", description="a shipped template or a YAML file")
    max_history: int = Field(default=20, ge=1, description="only the last items are shown")


class SftSection(Section):
    """Supervised fine-tuning. `trainer` goes to TRL's SFTConfig as it is."""

    tasks: dict[str, Any] = Field(
        default={"seqrec": 1.0},
        min_length=1,
        description="task: weight, or {weight: …, cap: …} and its own options; null: leave it out",
    )
    targets: Literal["last", "all"] = "last"
    loss: Literal["vocab", "level"] = Field(
        default="vocab", description="level: normalised over the codes of a SID's level"
    )
    drop_items: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="each pass leaves items out of the sequences, with a chance up to this",
    )
    validation_users: int = Field(default=1000, ge=1, description="sampled once, by the seed")
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="rows of a step, over all processes; default: what the trainer's settings give",
    )
    patience: int = Field(default=3, ge=1, description="evaluations without a better metric")
    trainer: dict[str, Any] = Field(default={})

    @field_validator("tasks")
    @classmethod
    def _tasks_are_known(cls, tasks: dict[str, Any]) -> dict[str, Any]:
        return canonical_tasks(tasks)

    @property
    def mix(self) -> list[TaskShare]:
        """The tasks with their options, weights and caps, in the recipe's order."""
        return [read_share(name, given) for name, given in self.tasks.items()]

    @model_validator(mode="after")
    def _all_targets_can_be_trained(self) -> "SftSection":
        lone = [share.task.name for share in self.mix if share.task.trains_one_target]
        if self.targets == "all" and lone:
            raise ValueError(
                f"targets: all trains every position of a sequence at once, but {', '.join(lone)} "
                "shows a history in another way than it answers, so that a longer prompt does not "
                "continue a shorter one; set targets: last, or leave the task out"
            )
        return self

    @model_validator(mode="after")
    def _one_batch_size(self) -> "SftSection":
        if self.batch_size and "gradient_accumulation_steps" in self.trainer:
            raise ValueError(
                "batch_size says how many rows a step has, and so "
                "trainer.gradient_accumulation_steps; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _items_can_be_dropped(self) -> "SftSection":
        if self.drop_items and self.targets != "all":
            raise ValueError(
                f"drop_items is {self.drop_items:g}, but targets is {self.targets!r}; items are "
                "left out of whole sequences: set targets: all, or drop_items: 0"
            )
        return self


class Recipe(Section):
    """A whole run. See `recllm recipes ls` for those that are shipped."""

    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**32)
    output_dir: Path
    cache_dir: Path = Path("runs/.cache")
    data: DataSection
    embed: EmbedSection
    sid: SidSection
    model: ModelSection
    prompts: PromptSection = PromptSection()
    sft: SftSection
    rl: RlSection | None = None
    eval: EvalSection
    sasrec: SasrecSection | None = Field(
        default=None, description="{}: trained too, and shown among the baselines"
    )
    hub: HubSection | None = Field(default=None, description="where `recllm push` puts the model")

    @model_validator(mode="after")
    def _all_can_be_targets(self) -> "Recipe":
        if self.sft.targets == "all" and self.data.has_history_only:
            raise ValueError(
                "sft.targets: all trains every interaction of a sequence, but under "
                "data.target_behaviors some are history only; set sft.targets: last, or name the "
                "same behaviors in data.history_behaviors"
            )
        return self

    @property
    def asked_by(self) -> Any:
        """The task that validation and evaluation ask by; see `asking_task`.

        Raises:
            UserError: sft.tasks has none that can be asked.
        """
        return asking_task(self.sft.mix, by_title=self.sid.quantizer.name == "title")

    @property
    def trained_by(self) -> str:
        """The last stage that trains the model."""
        return "sft" if self.rl is None else "rl"

    def depth_conflict(self) -> str | None:
        """What does not go with items of different lengths, in words; None where all does."""
        needs = {
            "sft.targets: all trains no end of an item (set last)": self.sft.targets == "all",
            "sft.loss: level compares the codes of a level (set vocab)": self.sft.loss == "level",
            "eval.scoring: level does so too (set vocab)": self.eval.scoring == "level",
        }
        found = [need for need, given in needs.items() if given]
        start = f"sid.quantizer: {self.sid.quantizer.name} gives items of different lengths, but "
        return start + "; ".join(found) if found else None

    @model_validator(mode="after")
    def _items_end(self) -> "Recipe":
        scheme = self.sid.quantizer
        if scheme is not None and scheme.variable_depth and (conflict := self.depth_conflict()):
            raise ValueError(conflict)
        return self

    @model_validator(mode="after")
    def _scores_are_trained(self) -> "Recipe":
        if self.sft.loss == "level" and self.eval.scoring == "vocab":
            raise ValueError(
                "sft.loss: level trains no score over the whole vocabulary; "
                "set eval.scoring: level, or sft.loss: vocab"
            )
        return self


def section_types() -> dict[str, type[Section]]:
    """The sections of a recipe by name, also those that it may go without."""
    found: dict[str, type[Section]] = {}
    for name, field in Recipe.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found[name] = kind
    return found
