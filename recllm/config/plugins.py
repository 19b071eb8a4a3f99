"""Where each kind of plugin lives. A new file in one of these packages is a new plugin."""

from typing import Any

from recllm.config.registry import Registry

SOURCES: Registry[Any] = Registry("data source", "recllm.data_prep.sources")
SPLITS: Registry[Any] = Registry("split", "recllm.data_prep.splits")
ENCODERS: Registry[Any] = Registry("encoder", "recllm.data_prep.encoders")
QUANTIZERS: Registry[Any] = Registry("quantizer", "recllm.data_prep.quantizers")
EXPORTS: Registry[Any] = Registry("export format", "recllm.data_prep.exports")
TASKS: Registry[Any] = Registry("task", "recllm.prompts.tasks")
ENGINES: Registry[Any] = Registry("engine", "recllm.eval.engines")
REWARDS: Registry[Any] = Registry("reward", "recllm.rewards")
ROLLOUTS: Registry[Any] = Registry("rollout", "recllm.train.rollouts")

ALL = (SOURCES, SPLITS, ENCODERS, QUANTIZERS, EXPORTS, TASKS, ENGINES, REWARDS, ROLLOUTS)
