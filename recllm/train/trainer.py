"""TRL's SFTTrainer, with validation by the decoding engine and the head where there are labels."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from trl import SFTConfig, SFTTrainer

from recllm.errors import UserError
from recllm.prompts.training import IGNORED
from recllm.train.batches import GlobalBatches
from recllm.train.data import row_lengths
from recllm.train.measured import Measured, causal_lm
from recllm.train.padding_free import attention, fastest_attention, supports_padding_free
from recllm.train.supervised_loss import LevelLoss, VocabLoss, add_loss, changed_logits
from recllm.train.throughput import Throughput

log = logging.getLogger(__name__)


class RecommenderTrainer(Measured, SFTTrainer):
    """Measures ranking metrics instead of a loss on the validation rows.

    The head runs on supervised positions alone, and batches have no padding where `args` ask for
    that and the model can do it. How fast it goes is in the log.

    Args:
        measure: called at each evaluation; returns metrics by name.
        level_tokens: for each level its token ids. Where given, the loss of a SID token is
            normalised over the codes of its level instead of the whole vocabulary.

    Raises:
        UserError: a loss over levels is asked for with settings that only TRL's own loss has.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: SFTConfig,
        *rest: Any,
        measure: Callable[[], dict[str, float]],
        level_tokens: Sequence[torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        if args.padding_free and not supports_padding_free(causal_lm(model)):
            log.warning("sft: batches are padded; %s takes no others", model.config.model_type)
            args.padding_free = False
        if args.padding_free and args.include_num_input_tokens_seen == "non_padding":
            args.include_num_input_tokens_seen = "all"
        super().__init__(model, args, *rest, **kwargs)
        self.causal_lm = causal_lm(self.model)
        self.measure = measure
        self.throughput = Throughput(self.causal_lm, self.accelerator)
        self.add_callback(self.throughput)
        only_trl = self._only_trl_computes()
        if level_tokens is not None and only_trl:
            raise UserError(f"sft.loss: level does not go with {only_trl}; set sft.loss: vocab")
        self.own_loss = not only_trl
        if self.own_loss:
            add_loss(
                self.causal_lm, VocabLoss() if level_tokens is None else LevelLoss(level_tokens)
            )

    def _only_trl_computes(self) -> str | None:
        """The setting that asks for more than cross-entropy of the head's own logits."""
        args: Any = self.args
        parallel = self.accelerator.parallelism_config
        settings = {
            "sft.trainer.loss_type": args.loss_type != "nll",
            "sft.trainer.label_smoothing_factor": args.label_smoothing_factor > 0,
            "a mixture of experts that balances its load": self.aux_loss_enabled,
            "sft.trainer.parallelism_config": parallel is not None
            and (parallel.sp_enabled or parallel.cp_enabled),
        }
        asked = next((name for name, is_set in settings.items() if is_set), None)
        return asked or changed_logits(self.causal_lm)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, with the attention that suits the batches; validation keeps the model's own."""
        if not self.padding_free:
            return super().train(*args, **kwargs)
        measure = self.measure
        own: Any = self.causal_lm.config._attn_implementation

        def measure_with_own_attention() -> dict[str, float]:
            with attention(self.causal_lm, own):
                return measure()

        self.measure = measure_with_own_attention
        try:
            with attention(self.causal_lm, fastest_attention(self.accelerator.device)):
                return super().train(*args, **kwargs)
        finally:
            self.measure = measure

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean over the labels of the whole batch, its other parts and processes included."""
        if not self.own_loss:
            self.throughput.count(inputs, (inputs["labels"][:, 1:] != IGNORED).sum())
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        summed = model(**inputs, supervised_only=True)
        self.throughput.count(inputs, summed["count"])
        targets = summed["count"] if num_items_in_batch is None else num_items_in_batch
        loss = summed["loss"] / torch.as_tensor(targets).clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The labels are those of all processes, and what these compute is averaged.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return (loss, None) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        by_length = self.args.train_sampling_strategy == "group_by_length"
        if not by_length and self.args.train_sampling_strategy != "random":
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return GlobalBatches(
            len(rows),
            self._train_batch_size,
            rank=self.args.process_index,
            processes=self.args.world_size,
            seed=seed,
            epoch=lambda: int(self.state.epoch or 0),
            lengths=row_lengths(rows) if by_length else None,
            group=self.args.gradient_accumulation_steps,
            drop_last=self.args.dataloader_drop_last,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add how fast it went, to the rows of the training and at its end."""
        if "loss" in logs:
            logs |= self.throughput.recent()
        elif "train_loss" in logs:
            logs |= self.throughput.overall()
        super().log(logs, start_time)
