"""The template: how a task's parts become the text of a prompt.

One template object renders the prompts of training, reinforcement learning and evaluation, so
that they cannot differ.
"""

import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import yaml

from recllm.config.registry import unknown_name
from recllm.errors import UserError

ALL_TARGETS_TEMPLATE = (
    "sft.targets: all needs a template whose prompt ends with {input}, so that an answer follows "
    "the history at once; use prompts.template: plain or sft.targets: last"
)


@dataclass(frozen=True)
class Template:
    """Text around a task's instruction and input.

    Attributes:
        prompt: contains `{input}` once, and `{instruction}` at most once.
    """

    prompt: str

    def __post_init__(self) -> None:
        if self.prompt.count("{input}") != 1 or self.prompt.count("{instruction}") > 1:
            raise UserError(
                "a template's prompt must contain {input} once and {instruction} at most once, "
                f"found {self.prompt!r}"
            )

    @property
    def ends_with_input(self) -> bool:
        """Whether the answer follows the input at once, as `targets: all` needs."""
        return self.prompt.endswith("{input}")

    def render(self, instruction: str, text: str) -> str:
        """The prompt with both parts in place; braces in them are left as they are."""
        head, tail = self.prompt.split("{input}")
        head = head.replace("{instruction}", instruction)
        tail = tail.replace("{instruction}", instruction)
        return head + text + tail

    def to_json(self) -> str:
        """The template as JSON, for a checkpoint's folder."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def load(cls, name: str) -> "Template":
        """A shipped template by name, or one from a user's YAML file with the key `prompt`."""
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
        if not isinstance(content, dict) or set(content) != {"prompt"}:
            raise UserError(f"template {name}: expected the one key 'prompt', found {content!r}")
        return cls(str(content["prompt"]))
