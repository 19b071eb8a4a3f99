"""The template: how a task's parts become the text of a prompt.

One template object renders the prompts of training, reinforcement learning and evaluation, so
that they cannot differ.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from recllm.config.plugins import TASKS
from recllm.config.registry import unknown_name
from recllm.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALL_TARGETS_TEMPLATE = (
    "sft.targets: all needs a template whose prompt ends with {input} and that has no separator "
    "and no ending, so that an answer follows the history at once; use prompts.template: plain or "
    "sft.targets: last"
)
NO_CHAT_TEMPLATE = (
    "prompts.template writes prompts with the tokenizer's own chat template, but the tokenizer has "
    "none; give an instruction-tuned model, or use prompts.template: alpaca"
)
#: What chat templates would else choose by the day or by themselves: the date that Llama's shows
#: (its own default), and whether Qwen's leaves room to think before the answer.
CHAT_OPTIONS = {"date_string": "26 Jul 2024", "enable_thinking": False}


@dataclass(frozen=True)
class Template:
    """Text around a task's instruction and input.

    Attributes:
        prompt: contains `{input}` once, and `{instruction}` at most once.
        chat: whether the prompt is a user's turn in the tokenizer's own chat template, up to where
            the assistant's answer begins.
        separator: what stands between the items of a history; None: SIDs stand side by side, and
            titles one a line.
        instructions: by task, its phrasings in place of recllm's own.
        ending: what an answer ends with, before the end-of-sequence token. Where it is given, be
            it empty, the ending and that token count in an item's score; None: an item of a fixed
            length is scored by its codes alone.
    """

    prompt: str
    chat: bool = False
    separator: str | None = None
    instructions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ending: str | None = None

    def __post_init__(self) -> None:
        if self.prompt.count("{input}") != 1 or self.prompt.count("{instruction}") > 1:
            raise UserError(
                "a template's prompt must contain {input} once and {instruction} at most once, "
                f"found {self.prompt!r}"
            )
        if not isinstance(self.chat, bool):
            raise UserError(f"a template's chat: expected true or false, found {self.chat!r}")
        for name, text in (("separator", self.separator), ("ending", self.ending)):
            if text is not None and not isinstance(text, str):
                raise UserError(f"a template's {name}: expected a text, found {text!r}")
        object.__setattr__(self, "instructions", _read_instructions(self.instructions))

    @property
    def fits_all_targets(self) -> bool:
        """Whether the answer follows the history at once, as `targets: all` needs."""
        follows = self.prompt.endswith("{input}") and not self.chat and not self.separator
        return follows and self.ending is None

    def check_scoring(self, scoring: str) -> None:
        """Refuse to score an ending over the codes of a level, of which it is none.

        Raises:
            UserError: the template has an ending, and `scoring` is `level`.
        """
        if self.ending is not None and scoring == "level":
            raise UserError(
                "prompts.template has an ending, which eval.scoring: level cannot score; set "
                "eval.scoring to vocab or trie"
            )

    def phrasings(self, task: str, own: tuple[str, ...]) -> tuple[str, ...]:
        """The ways to put a task's instruction; `own` are recllm's."""
        return self.instructions.get(task, own)

    def render(
        self, instruction: str, text: str, tokenizer: "PreTrainedTokenizerBase | None" = None
    ) -> str:
        """The prompt with both parts in place; braces in them are left as they are.

        Args:
            tokenizer: that of the model; only `chat` needs it.

        Raises:
            UserError: the template is a chat, and the tokenizer has no chat template.
        """
        head, tail = self.prompt.split("{input}")
        head = head.replace("{instruction}", instruction)
        tail = tail.replace("{instruction}", instruction)
        prompt = head + text + tail
        if not self.chat:
            return prompt
        if tokenizer is None or tokenizer.chat_template is None:
            raise UserError(NO_CHAT_TEMPLATE)
        turn = [{"role": "user", "content": prompt}]
        rendered = tokenizer.apply_chat_template(
            turn, tokenize=False, add_generation_prompt=True, **CHAT_OPTIONS
        )
        assert isinstance(rendered, str)
        return rendered

    def to_json(self) -> str:
        """The template as JSON, for a checkpoint's folder; defaults are left out."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        given = {name: value for name, value in values.items() if value != _DEFAULTS.get(name)}
        return json.dumps(given, ensure_ascii=False)

    @classmethod
    def load(cls, name: str) -> "Template":
        """A shipped template by name, or a user's YAML file with the attributes as its keys.

        Raises:
            UserError: there is none of that name, or the file is not of that form.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            shipped = resources.files("recllm.prompts") / "templates"
            known = sorted(Path(f.name).stem for f in shipped.iterdir() if f.name.endswith(".yaml"))
            if name not in known:
                raise UserError(unknown_name("template", name, known) + " (or a YAML file)")
            path = Path(str(shipped / f"{name}.yaml"))
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            said = " ".join(str(error).split())
            raise UserError(f"template {name}: cannot be read: {said}") from None
        known = [f.name for f in fields(cls)]
        if not isinstance(content, dict) or "prompt" not in content or set(content) - set(known):
            optional = ", ".join(known[1:])
            raise UserError(
                f"template {name}: expected the key 'prompt' (and {optional}), found {content!r}"
            )
        try:
            values: dict[str, Any] = content | {"prompt": str(content["prompt"])}
            return cls(**values)
        except UserError as error:
            raise UserError(f"template {name}: {error}") from None


_DEFAULTS: dict[str, Any] = {
    "chat": False,
    "separator": None,
    "instructions": {},
    "ending": None,
}


def _read_instructions(given: Any) -> dict[str, tuple[str, ...]]:
    """Phrasings by the name of their task, as a file or a checkpoint has them.

    Raises:
        UserError: they are of another form, or of no task.
    """
    expected = "expected one text or a list of texts for each task"
    if not isinstance(given, Mapping):
        raise UserError(f"a template's instructions: {expected}, found {given!r}")
    found: dict[str, tuple[str, ...]] = {}
    for name, value in given.items():
        task = str(name).replace("_", "-")
        if task not in TASKS.names():
            known = unknown_name("task", task, TASKS.names())
            raise UserError(f"a template's instructions: {known}")
        texts = (value,) if isinstance(value, str) else value
        is_list = isinstance(texts, list | tuple) and len(texts) > 0
        if not is_list or not all(isinstance(text, str) for text in texts):
            raise UserError(f"a template's instructions.{name}: {expected}, found {value!r}")
        found[task] = tuple(texts)
    return found
