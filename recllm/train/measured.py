"""What recllm changes in TRL's trainers, whatever they train."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from accelerate.utils import is_peft_model
from transformers import PreTrainedModel, Trainer

_Base = Trainer if TYPE_CHECKING else object


class Measured(_Base):
    """A mixin of trainers that measure ranking metrics in place of a loss at each evaluation.

    Attributes:
        measure: called at each evaluation; returns metrics by name.
    """

    measure: Callable[[], dict[str, float]]

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure; metrics are logged as `eval_hit@10` and so on."""
        metrics = {f"eval_{name}": value for name, value in self.measure().items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _save_rng_state(self, output_dir: str) -> None:
        """As it was; then wait, since the file that makes a checkpoint whole is written next."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Nothing here: a card belongs to what is pushed, not to each checkpoint."""


def causal_lm(model: Any) -> PreTrainedModel:
    """The model itself, out of the PEFT model around it."""
    return model.get_base_model() if is_peft_model(model) else model
