"""What a recipe says of reinforcement learning."""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from recllm.config import plugins
from recllm.config.model_section import LoraSection
from recllm.config.reward_mix import RewardShare, canonical_rewards, read_rewards
from recllm.config.section import Section
from recllm.config.task_mix import TaskShare, canonical_tasks, read_share

NO_RL = "the recipe has no section rl; add one, such as rl: {rewards: {rank: 1.0}}"
#: The column of prompts that ask what follows a whole training history: whose sequence it is.
WHOLE = "sequence"
#: What each algorithm sets in TRL's GRPOConfig.
ALGORITHMS: dict[str, dict[str, str]] = {
    "grpo": {"loss_type": "grpo", "importance_sampling_level": "token"},
    "dr-grpo": {
        "loss_type": "dr_grpo",
        "importance_sampling_level": "token",
        "scale_rewards": "none",
    },
    "dapo": {"loss_type": "dapo", "importance_sampling_level": "token"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
}


class RlSection(Section):
    """Reinforcement learning from an SFT checkpoint. `trainer` goes to TRL's GRPOConfig as it is.

    GRPO: Shao et al., "DeepSeekMath", 2024; Dr. GRPO: Liu et al., "Understanding R1-Zero-Like
    Training", 2025; DAPO: Yu et al., 2025; GSPO: Zheng et al., "Group Sequence Policy
    Optimization", 2025.
    """

    choices: ClassVar = {"rollout": (plugins.ROLLOUTS, "beam")}

    rollout: Any
    algorithm: Literal["grpo", "dr-grpo", "dapo", "gspo"] = "grpo"
    generations: int = Field(default=16, ge=2, description="items of each prompt's rollout")
    tasks: dict[str, Any] | None = Field(
        default=None,
        min_length=1,
        description="as in sft; their answers must be items; default: the task that is asked by",
    )
    targets: Literal["known", "unknown"] = Field(
        default="known",
        description="unknown: asks what follows each user's whole training history, which nobody "
        "knows; for rewards that look at no target, such as collaborative",
    )
    rewards: dict[str, Any] = Field(
        default={"rank": 1.0},
        min_length=1,
        description="reward: weight, or {weight: …} and its own options; or a function's path",
    )
    checkpoint: str | None = Field(
        default=None,
        description="a recllm checkpoint, its folder or Hub id; default: what this run's sft has "
        "trained",
    )
    tuning: Literal["full", "lora"] = "full"
    lora: LoraSection | None = Field(default=None, description="only with tuning: lora")
    order: Literal["random", "hard-first"] = Field(
        default="random", description="hard-first: by how low the checkpoint ranks the target"
    )
    resample: int = Field(
        default=0,
        ge=0,
        description="how often a group without signal is replaced by that of another prompt",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="prompts of a step, over all processes; default: by the trainer's settings",
    )
    validation_users: int = Field(default=1000, ge=1, description="sampled once, by the seed")
    patience: int = Field(default=3, ge=1, description="evaluations without a better metric")
    trainer: dict[str, Any] = Field(default={})

    @field_validator("tasks")
    @classmethod
    def _tasks_are_known(cls, tasks: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if tasks is None else canonical_tasks(tasks)

    @field_validator("rewards")
    @classmethod
    def _rewards_are_known(cls, rewards: dict[str, Any]) -> dict[str, Any]:
        return canonical_rewards(rewards)

    @property
    def reward_mix(self) -> list[RewardShare]:
        """The rewards with their options and weights, in the recipe's order."""
        return read_rewards(self.rewards)

    def mix(self, asked_by: Any) -> list[TaskShare]:
        """The tasks with their options, weights and caps: by default the one that is asked by."""
        if self.tasks is None:
            return [TaskShare(asked_by, 1.0, None)]
        return [read_share(name, given) for name, given in self.tasks.items()]

    @model_validator(mode="after")
    def _algorithm_is_said_once(self) -> "RlSection":
        twice = sorted(set(ALGORITHMS[self.algorithm]) & set(self.trainer))
        if twice:
            raise ValueError(
                f"algorithm: {self.algorithm} sets trainer.{', trainer.'.join(twice)}; leave "
                "that out, or choose another algorithm"
            )
        return self

    @model_validator(mode="after")
    def _rewards_are_scaled_in_groups(self) -> "RlSection":
        scale = self.trainer.get("scale_rewards", "group")
        if scale not in ("group", "none"):
            raise ValueError(f"trainer.scale_rewards: expected group or none, found {scale!r}")
        return self

    @model_validator(mode="after")
    def _no_target_is_asked_for(self) -> "RlSection":
        if self.targets == "known":
            return self
        wrong = [s.reward.name for s in self.reward_mix if s.weight and s.reward.needs_target]
        if wrong:
            raise ValueError(
                f"rewards: {', '.join(wrong)} look(s) at the target, which targets: unknown does "
                "not have; use collaborative, popularity or a function of your own, or targets: "
                "known"
            )
        for name, is_set in (
            ("tasks", self.tasks is not None),
            ("order: hard-first", self.order == "hard-first"),
            ("add_target", self.rollout.add_target),
        ):
            if is_set:
                raise ValueError(f"{name} needs targets: known; leave it out, or set that")
        return self

    @model_validator(mode="after")
    def _one_batch_size(self) -> "RlSection":
        if self.batch_size and "gradient_accumulation_steps" in self.trainer:
            raise ValueError(
                "batch_size says how many prompts a step has, and so "
                "trainer.gradient_accumulation_steps; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _lora_is_used(self) -> "RlSection":
        if self.lora is not None and self.tuning != "lora":
            raise ValueError("lora is set, but tuning is 'full'; set tuning: lora, or lora: null")
        return self
