"""From histories to token ids: the one way that training, evaluation and `recommend` share."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from recllm.catalog.histories import History
from recllm.config.plugins import TASKS
from recllm.errors import UserError
from recllm.prompts.tasks import CatalogText, Task
from recllm.prompts.template import Template

RECOMMENDATION_TASK = "seqrec"


@dataclass(frozen=True)
class Renderer:
    """Renders prompts for one catalogue and one tokenizer.

    Attributes:
        max_history: only the last items of a history are shown.
    """

    template: Template
    catalog: CatalogText
    tokenizer: PreTrainedTokenizerBase
    max_history: int

    def prompt_text(self, task: Task, history: History, phrasing: int = 0) -> str:
        """The text of a task's prompt for a history."""
        shown = task.input(self.catalog, history[-self.max_history :])
        return self.template.render(task.phrasings[phrasing], shown)

    def recommendation_prompts(self, histories: Sequence[History]) -> list[list[int]]:
        """The token ids of the prompt that asks for the next item, for each history.

        Raises:
            UserError: a history is empty.
        """
        if any(len(history) == 0 for history in histories):
            raise UserError("a history is empty; a recommendation needs at least one item")
        task: Task = TASKS.load(RECOMMENDATION_TASK)()
        return self.encode_prompts([self.prompt_text(task, history) for history in histories])

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, with the tokenizer's own start token where it has one."""
        return self._encode(texts, add_special_tokens=True)

    def encode_answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of completions, without start or end tokens."""
        return self._encode(texts, add_special_tokens=False)

    def _encode(self, texts: Sequence[str], add_special_tokens: bool) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=add_special_tokens, return_attention_mask=False
        )
        return [list(ids) for ids in encoded["input_ids"]]  # type: ignore[union-attr]
