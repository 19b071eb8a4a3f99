"""What a recipe may say, section by section.

A section that chooses a plugin by name (`data.source: files`) takes that plugin's options beside
its own keys; validated, the field holds the plugin itself. `recllm.config.validation` does this.
"""

import math
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recllm.config import plugins
from recllm.config.registry import Registry, unknown_name

#: user/name, or one of the Hub's old names without a user.
HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")

Scoring = Literal["vocab", "level", "trie"]


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors; defaults are checked like anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    #: The fields that choose a plugin: the registry and the name taken where none is given.
    choices: ClassVar[dict[str, tuple[Registry[Any], str]]] = {}


#: The forms of a Spark master's URL.
SPARK_MASTER = re.compile(
    r"^(local(\[(\d+|\*)(,\d+)?\])?|local-cluster\[\d+,\d+,\d+\]|yarn|(spark|k8s)://.+)$"
)
#: Options of Spark that recllm sets, as the tables rest on them.
OWNED_SPARK_OPTIONS = {
    "spark.master": "set data.spark.master",
    "spark.sql.session.timeZone": "times are read as UTC",
    "spark.sql.ansi.enabled": "a number that overflows is always an error",
    "spark.sql.json.enableExactStringParsing": "numbers in JSON are read as they stand",
    "spark.sql.legacy.parquet.nanosAsLong": "nanoseconds in Parquet are always read",
}


class SparkSection(Section):
    """The Spark that prepares the data, where `data.engine` is `spark`."""

    master: str = Field(
        default="local[*]", description="local[*], local[4], spark://host:7077, yarn, k8s://…"
    )
    options: dict[str, str | int | float | bool] = Field(
        default={},
        description="Spark's own, such as spark.executor.memory; a cluster needs a "
        "spark.sql.warehouse.dir that all its machines see",
    )

    @field_validator("master")
    @classmethod
    def _is_a_master(cls, master: str) -> str:
        if not SPARK_MASTER.match(master):
            raise ValueError(
                f"expected a Spark master such as local[*], local[4], spark://host:7077, yarn "
                f"or k8s://…, found {master!r}"
            )
        return master

    @field_validator("options")
    @classmethod
    def _are_options_of_spark(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name, value in options.items():
            if not name.startswith("spark."):
                raise ValueError(f"expected names that begin with 'spark.', found {name!r}")
            if name in OWNED_SPARK_OPTIONS:
                raise ValueError(f"{name!r} cannot be set here: {OWNED_SPARK_OPTIONS[name]}")
            if name == "spark.sql.warehouse.dir" and not Path(str(value)).is_absolute():
                raise ValueError(
                    f"{name!r}: expected an absolute path of a folder that is mounted here and "
                    f"on all workers, found {value!r}"
                )
        return options


class DataSection(Section):
    """Where the log comes from, how it is filtered, how it is split."""

    choices: ClassVar = {
        "source": (plugins.SOURCES, "simulated"),
        "split": (plugins.SPLITS, "leave-one-out"),
    }

    source: Any
    split: Any
    k_core: int = Field(default=5, ge=0, description="0 keeps every user and item")
    min_rating: float | None = Field(
        default=None, allow_inf_nan=False, description="rows rated lower are left out"
    )
    engine: Literal["duckdb", "spark"] = Field(
        default="duckdb", description="what runs ingest, filter and split; the tables are the same"
    )
    spark: SparkSection | None = Field(default=None, description="only with engine: spark")

    @model_validator(mode="after")
    def _spark_is_used(self) -> "DataSection":
        if self.spark is not None and self.engine != "spark":
            raise ValueError(
                f"spark is set, but engine is {self.engine!r}; set engine: spark, or spark: null"
            )
        return self


class EmbedSection(Section):
    """How an item becomes a vector."""

    choices: ClassVar = {"encoder": (plugins.ENCODERS, "fusion")}

    encoder: Any
    dimensions: int = Field(default=64, ge=2)


class HealthSection(Section):
    """Limits that a set of SIDs must keep; crossing one fails the stage."""

    min_utilisation: float = Field(default=0.5, ge=0, le=1, description="codes used, first level")
    max_collision_rate: float = Field(default=0.9, ge=0, le=1, description="before resolution")
    max_resolution_cost: float = Field(default=0.25, ge=0, description="relative rise of the MSE")


class SidSection(Section):
    """How a vector becomes a semantic ID."""

    choices: ClassVar = {"quantizer": (plugins.QUANTIZERS, "rq-kmeans")}

    quantizer: Any
    levels: int = Field(default=3, ge=1, le=8)
    codes: int = Field(default=256, ge=2, le=65536)
    health: HealthSection = HealthSection()


class PromptSection(Section):
    """How a history becomes text."""

    template: str = Field(default="plain", description="a shipped template or a YAML file")
    max_history: int = Field(default=20, ge=1, description="only the last items are shown")


class FromScratchSection(Section):
    """A small backbone with random weights and a tokenizer trained on the item text."""

    architecture: Literal["qwen2", "qwen3", "llama"] = "qwen3"
    hidden: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    intermediate: int | None = Field(default=None, ge=8, description="default: 4 × hidden")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    vocabulary: int = Field(default=1024, ge=300, description="byte-level BPE, before the SIDs")
    tie_embeddings: bool = True

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> "FromScratchSection":
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden ({self.hidden}) must be a multiple of 2 × heads ({2 * self.heads})"
            )
        return self


class ModelSection(Section):
    """The backbone: a Hugging Face causal LM by id or folder, or a small one from scratch."""

    name: str | None = Field(default=None, description="a Hub id or a local folder")
    from_scratch: FromScratchSection | None = None
    tuning: Literal["full"] = "full"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 on a GPU that has it, else float32"
    )
    trust_remote_code: bool = False

    @field_validator("name")
    @classmethod
    def _name_can_be_found(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not Path(name).is_dir() and not HUB_ID.match(name):
            raise ValueError(f"expected a Hub id or a folder that exists, found {name!r}")
        if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            raise ValueError(f"expected a folder with a model, found no config.json in {name!r}")
        return name

    @model_validator(mode="after")
    def _one_backbone(self) -> "ModelSection":
        if (self.name is None) == (self.from_scratch is None):
            raise ValueError("give exactly one of 'name' and 'from_scratch'")
        return self


class SftSection(Section):
    """Supervised fine-tuning. `trainer` goes to TRL's SFTConfig as it is."""

    tasks: dict[str, float] = Field(default={"seqrec": 1.0}, min_length=1)
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
    patience: int = Field(default=3, ge=1, description="evaluations without a better ndcg@10")
    trainer: dict[str, Any] = {}

    @model_validator(mode="after")
    def _tasks_are_known(self) -> "SftSection":
        for task, weight in self.tasks.items():
            if task.replace("_", "-") not in plugins.TASKS.names():
                raise ValueError(unknown_name("task", task, plugins.TASKS.names()))
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of task {task!r} must be above 0, found {weight}")
        return self

    @model_validator(mode="after")
    def _items_can_be_dropped(self) -> "SftSection":
        if self.drop_items and self.targets != "all":
            raise ValueError(
                f"drop_items is {self.drop_items:g}, but targets is {self.targets!r}; items are "
                "left out of whole sequences: set targets: all, or drop_items: 0"
            )
        return self


class EvalSection(Section):
    """How checkpoints are ranked and compared."""

    choices: ClassVar = {"engine": (plugins.ENGINES, "transformers")}

    engine: Any
    beams: int = Field(default=50, ge=1)
    scoring: Scoring = "vocab"
    exclude_history: bool = False
    cutoffs: tuple[int, ...] = Field(default=(1, 5, 10, 20, 50), min_length=1)
    bootstrap: int = Field(default=1000, ge=100, description="resamples for the intervals")
    batch_tokens: int | None = Field(
        default=None, ge=1, description="prompt and beam tokens a batch; default: by the device"
    )

    @model_validator(mode="after")
    def _cutoffs_within_beams(self) -> "EvalSection":
        if any(k < 1 or k > self.beams for k in self.cutoffs):
            raise ValueError(
                f"cutoffs must lie between 1 and beams ({self.beams}), found {list(self.cutoffs)}"
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
    eval: EvalSection

    @model_validator(mode="after")
    def _scores_are_trained(self) -> "Recipe":
        if self.sft.loss == "level" and self.eval.scoring == "vocab":
            raise ValueError(
                "sft.loss: level trains no score over the whole vocabulary; "
                "set eval.scoring: level, or sft.loss: vocab"
            )
        return self


def section_types() -> dict[str, type[Section]]:
    """The sections of a recipe by name."""
    return {
        name: field.annotation
        for name, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
