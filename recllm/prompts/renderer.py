"""From histories to token ids: the one way that training, evaluation and `recommend` share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from recllm.catalog.histories import History
from recllm.config.plugins import TASKS
from recllm.errors import UserError
from recllm.prompts.tasks import RECOMMENDATION_TASK, CatalogText, HistoryTask, Task
from recllm.prompts.template import Template


def sequential_recommendation() -> Task:
    """The task that a recommender is asked by unless another is named."""
    return TASKS.load(RECOMMENDATION_TASK)()


@dataclass(frozen=True)
class Renderer:
    """Renders prompts for one catalogue and one tokenizer.

    Attributes:
        max_history: only the last items of a history are shown.
        asked_by: the task that what is trained is asked by: for items, or for a verdict on one.
    """

    template: Template
    catalog: CatalogText
    tokenizer: PreTrainedTokenizerBase
    max_history: int
    asked_by: Task = field(default_factory=sequential_recommendation)

    @cached_property
    def shown_catalog(self) -> CatalogText:
        """The catalogue as the template has it written."""
        return self.catalog.separated(self.template.separator)

    def phrasings(self, task: Task, form: int = 0) -> tuple[str, ...]:
        """The ways to put the instruction of one form of a task: the template's, or its own."""
        own = task.forms[form]
        return self.template.phrasings(task.name, own) if form == 0 else own

    def prompt_text(self, task: HistoryTask, history: History, phrasing: int = 0) -> str:
        """The text of a task's prompt for a history."""
        shown = task.input(self.shown_catalog, history[-self.max_history :])
        return self.text(self.phrasings(task)[phrasing], shown)

    def text(self, instruction: str, shown: str) -> str:
        """The text of a prompt with this instruction and input."""
        return self.template.render(instruction, shown, self.tokenizer)

    def recommendation_prompts(
        self, histories: Sequence[History], phrasing: int = 0
    ) -> list[list[int]]:
        """The token ids of the prompt that asks for the next item, for each history.

        The question is that of `asked_by`.

        Args:
            phrasing: which of `recommendation_phrasings` puts the question.

        Raises:
            UserError: a history is empty, there is no such phrasing, or the task asks for a
                verdict on one item.
        """
        task = self.asked_by
        if not isinstance(task, HistoryTask):
            raise UserError(
                f"this model was trained to answer task {task.name} with "
                f"{' or '.join(task.verdicts)}: it judges one item at a time, and ranks none"
            )
        if any(len(history) == 0 for history in histories):
            raise UserError("a history is empty; a recommendation needs at least one item")
        known = len(self.recommendation_phrasings)
        if not 0 <= phrasing < known:
            raise UserError(f"phrasing: expected a number from 0 to {known - 1}, found {phrasing}")
        return self.encode_prompts(
            [self.prompt_text(task, history, phrasing) for history in histories]
        )

    @property
    def recommendation_phrasings(self) -> tuple[str, ...]:
        """The ways in which the next item can be asked for."""
        return self.phrasings(self.asked_by)

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, with the tokenizer's own start token where it has one.

        A chat template writes its start token itself.
        """
        return self._encode(texts, add_special_tokens=not self.template.chat)

    def encode_answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of completions, with the template's ending; no start or end tokens."""
        ending = self.template.ending or ""
        return self.encode_words([text + ending for text in texts])

    def encode_words(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, and nothing else."""
        return self._encode(texts, add_special_tokens=False)

    def _encode(self, texts: Sequence[str], add_special_tokens: bool) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=add_special_tokens, return_attention_mask=False
        )
        return [list(ids) for ids in encoded["input_ids"]]  # type: ignore[union-attr]
