"""A recommender: a model with the tokenizer, the SIDs and the items that it speaks of."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from recllm.catalog.histories import History
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex, read_index
from recllm.catalog.trie import Trie
from recllm.config.eval_section import Scoring
from recllm.config.plugins import TASKS
from recllm.decoding.engine import Ranking, TreeDecoder
from recllm.errors import UserError
from recllm.models.backbone import on_device
from recllm.models.item_trie import item_trie
from recllm.prompts.renderer import Renderer, sequential_recommendation
from recllm.prompts.tasks import CatalogText, Task
from recllm.prompts.template import Template

DESCRIPTION = "recllm.json"
ITEMS_FILE, SIDS_FILE = "items.parquet", "sids.parquet"
FORMAT = 1


@dataclass
class Recommender:
    """Ranks the catalogue for histories.

    Saved, it is one folder: a Hugging Face checkpoint with `sids.parquet`, `items.parquet` and
    `recllm.json` (the template, the history's length, the task that it is asked by, how to rank)
    beside it.

    Attributes:
        scoring, exclude_history: how its checkpoint was chosen, and so how it ranks unless told.
    """

    model: PreTrainedModel
    renderer: Renderer
    scoring: Scoring
    exclude_history: bool

    @property
    def items(self) -> Items:
        """The catalogue."""
        return self.renderer.catalog.items

    @property
    def sids(self) -> ItemIndex:
        """The SIDs or titles that stand for the items."""
        return self.renderer.catalog.sids

    @cached_property
    def trie(self) -> Trie:
        """The items' paths as a trie of token ids, where the model is."""
        return item_trie(self.renderer).to(self.model.device)

    def without(self, item_ids: Sequence[str]) -> "Recommender":
        """This recommender, which never returns some items any more; nothing is built anew.

        They may still stand in histories.

        Raises:
            UserError: an id is not in the catalogue.
        """
        fewer = replace(self)
        vars(fewer)["trie"] = self.trie.without(self.items.index_of(list(item_ids)))
        return fewer

    def rank(
        self,
        histories: Sequence[History],
        *,
        beams: int,
        scoring: Scoring | None = None,
        exclude_history: bool | None = None,
        only: Sequence[History] | None = None,
        batch_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Ranking:
        """The best `beams` items for each history (dense indices, oldest first).

        Args:
            exclude_history: never return an item of the history, shown in the prompt or not.
            only: for each history the items that may be returned, such as those in stock; rows
                that share one list share its work.
        """
        exclude = self.exclude_history if exclude_history is None else exclude_history
        return self.rank_prompts(
            self.renderer.recommendation_prompts(histories),
            beams=beams,
            scoring=scoring,
            exclude=histories if exclude else None,
            only=only,
            batch_tokens=batch_tokens,
            progress=progress,
        )

    def rank_prompts(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        beams: int,
        scoring: Scoring | None = None,
        exclude: Sequence[History] | None = None,
        only: Sequence[History] | None = None,
        batch_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Ranking:
        """The best `beams` items to follow each prompt, given as token ids.

        Args:
            exclude, only: for each prompt the items that may not, or alone may, be returned.
        """
        decoder = TreeDecoder(
            self.model,
            self.trie,
            beams=beams,
            scoring=scoring or self.scoring,
            batch_tokens=batch_tokens,
        )
        return decoder.decode(prompts, exclude=exclude, only=only, progress=progress)

    def save(self, folder: Path) -> None:
        """Write the whole recommender into `folder`."""
        self.model.save_pretrained(folder)
        self.renderer.tokenizer.save_pretrained(folder)
        write_catalog(folder, self.renderer.catalog)
        description = {
            "format": FORMAT,
            "template": json.loads(self.renderer.template.to_json()),
            "max_history": self.renderer.max_history,
            "asked_by": _describe_task(self.renderer.asked_by),
            "scoring": self.scoring,
            "exclude_history": self.exclude_history,
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "Recommender":
        """Read what `save` wrote, onto the GPU where there is one.

        Raises:
            UserError: the folder is not a recommender, or a file of it is missing.
        """
        with _reading(folder) as description:
            scoring, exclude_history = description["scoring"], description["exclude_history"]
            renderer = _renderer(folder, description)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        return cls(on_device(model), renderer, scoring, exclude_history)


def write_catalog(folder: Path, catalog: CatalogText) -> None:
    """Write the catalogue of a recommender into its folder."""
    catalog.items.write(folder / ITEMS_FILE)
    catalog.sids.write(folder / SIDS_FILE)


def load_catalog(folder: Path) -> CatalogText:
    """The catalogue of the recommender saved in a folder.

    Raises:
        UserError: as `Recommender.load`.
    """
    with _reading(folder):
        return _catalog(folder)


def load_renderer(folder: Path) -> Renderer:
    """How the recommender saved in a folder renders prompts, without its model.

    Raises:
        UserError: as `Recommender.load`.
    """
    with _reading(folder) as description:
        return _renderer(folder, description)


@contextmanager
def _reading(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the folder's description; what cannot be read is the user's to mend."""
    if not (folder / DESCRIPTION).is_file():
        raise UserError(
            f"{folder}: expected a recllm checkpoint, found no {DESCRIPTION}; "
            "give the folder `model` of a finished run"
        )
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        if description["format"] != FORMAT:
            raise ValueError(f"its format is {description['format']}, not {FORMAT}")
        yield description
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: the checkpoint cannot be read: {error}") from None


def _renderer(folder: Path, description: dict[str, Any]) -> Renderer:
    template = Template(**description["template"])
    catalog = _catalog(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked_by = description.get("asked_by")
    task = sequential_recommendation() if asked_by is None else _described_task(asked_by)
    return Renderer(template, catalog, tokenizer, description["max_history"], task)


def _describe_task(task: Task) -> dict[str, Any]:
    return {"task": task.name, "options": task.model_dump(mode="json")}


def _described_task(described: Mapping[str, Any]) -> Task:
    return TASKS.load(described["task"]).model_validate(described["options"])


def _catalog(folder: Path) -> CatalogText:
    return CatalogText(Items.read(folder / ITEMS_FILE), read_index(folder / SIDS_FILE))
