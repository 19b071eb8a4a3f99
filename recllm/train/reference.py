"""The reference that a policy is kept near to: a copy of it, or the model without its adapter."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.training_args import TrainingArguments
from trl import GRPOConfig

FILE = "reference.safetensors"


class Reference(TrainerCallback):
    """A model that is not trained, but may follow the policy slowly.

    With an adapter it is the same model, the adapter switched off. Else it is a copy; where it is
    synced, every so many steps it becomes `alpha` of the policy and the rest of itself (TR-DPO,
    Gorbatovski et al. 2024, arXiv 2404.09656), and checkpoints hold it, so that a training goes on
    with the one that it had.
    """

    def __init__(self, policy: Any, args: GRPOConfig, device: torch.device) -> None:
        self._policy = policy
        self._copy: nn.Module | None = None
        if not is_peft_model(policy):
            self._copy = copy.deepcopy(policy).requires_grad_(False).eval().to(device)
        self._every = args.ref_model_sync_steps if args.sync_ref_model else None
        self._alpha = args.ref_model_mixup_alpha

    @contextmanager
    def model(self) -> Iterator[nn.Module]:
        """The reference, for as long as the block lasts."""
        if self._copy is not None:
            yield self._copy
            return
        with self._policy.disable_adapter():
            yield self._policy

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Go on with the reference of the checkpoint, where the training goes on from one."""
        del control
        if self._copy is not None and self._every is not None and state.global_step:
            checkpoint = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            weights = load_file(Path(str(args.output_dir)) / checkpoint / FILE)
            self._copy.load_state_dict(weights, strict=False)  # tied weights stand once

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Follow the policy."""
        del args, control
        if self._copy is None or self._every is None or state.global_step % self._every:
            return
        with torch.no_grad():
            pairs = zip(self._copy.parameters(), self._policy.parameters(), strict=True)
            for mine, policys in pairs:
                mine.lerp_(policys.detach().to(mine), self._alpha)

    def save(self, checkpoint: Path) -> None:
        """Keep a reference that changes beside a checkpoint."""
        if self._copy is not None and self._every is not None:
            weights = {name: p.detach().cpu() for name, p in self._copy.named_parameters()}
            save_file(weights, checkpoint / FILE)
