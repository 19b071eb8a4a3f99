"""A recommender: a model with the tokenizer, the SIDs and the items that it speaks of."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from recllm.catalog.histories import History
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex
from recllm.catalog.trie import Trie
from recllm.config.eval_section import Scoring
from recllm.decoding.engine import Ranking, TreeDecoder
from recllm.errors import UserError
from recllm.models.backbone import on_device
from recllm.models.checkpoint_files import (
    describe,
    read_renderer,
    reading,
    write_catalog,
)
from recllm.models.item_trie import item_trie
from recllm.models.loading import load_merged, load_tuned
from recllm.models.references import is_adapter
from recllm.models.tuned import TunedModel
from recllm.prompts.renderer import Renderer

log = logging.getLogger(__name__)


@dataclass
class Recommender:
    """Ranks the catalogue for histories.

    Saved, it is one folder: a Hugging Face checkpoint, or an adapter as peft writes it, with
    `sids.parquet`, `items.parquet` and `recllm.json` (the template, the history's length, the task
    that it is asked by, how to rank; of an adapter its base) beside it.

    Attributes:
        model: on whose device it ranks; a `TunedModel` where it is an adapter on its base.
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
        """Write the whole recommender into `folder`; of a `TunedModel` only what was trained."""
        self.model.save_pretrained(folder)
        self.renderer.tokenizer.save_pretrained(folder)
        write_catalog(folder, self.renderer.catalog)
        of_adapter: dict[str, Any] = {}
        if isinstance(self.model, TunedModel):
            of_adapter = {"tuning": self.model.tuning, "base": self.model.base.to_json()}
        describe(folder, self.renderer, self.scoring, self.exclude_history, **of_adapter)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "Recommender":
        """Read what `save` wrote, onto the GPU where there is one.

        An adapter comes on its base, in 4 or 8 bits where it was trained so.

        Args:
            dtype: of the weights; what an adapter holds is float32.

        Raises:
            UserError: the folder is not a recommender, a file of it is missing, or the base of an
                adapter is missing or another.
        """
        return cls._load(folder, lambda: _load_weights(folder, dtype))

    @classmethod
    def load_merged(cls, folder: Path) -> "Recommender":
        """Read an adapter that `save` wrote, merged into its base, in float32.

        Raises:
            UserError: as `load`; or the folder holds a whole model.
        """
        with reading(folder):
            if not is_adapter(folder):
                raise UserError(
                    f"{folder}: expected an adapter, found a whole model: there is nothing to "
                    "merge, use it as it is"
                )
        return cls._load(folder, lambda: load_merged(folder, torch.float32))

    @classmethod
    def _load(cls, folder: Path, load_weights: Callable[[], PreTrainedModel]) -> "Recommender":
        with reading(folder) as description:
            scoring, exclude_history = description["scoring"], description["exclude_history"]
            renderer = read_renderer(folder, description)
            model = load_weights()
        return cls(on_device(model), renderer, scoring, exclude_history)


def _load_weights(folder: Path, dtype: torch.dtype) -> Any:
    if is_adapter(folder):
        return load_tuned(folder, dtype)
    load: Any = AutoModelForCausalLM.from_pretrained  # not typed for output_loading_info
    try:
        model, told = load(folder, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except RuntimeError as error:
        if "mismatched_sizes" not in str(error):
            raise
        raise _other_weights(folder, "have other sizes than it says") from None
    if told["missing_keys"]:  # transformers would leave them random
        missing = sorted(told["missing_keys"])
        raise _other_weights(folder, f"lack {len(missing)} that it asks for, such as {missing[0]}")
    if told["unexpected_keys"]:
        others = sorted(told["unexpected_keys"])
        log.warning("%s: %d weights are not used, such as %s", folder, len(others), others[0])
    return model


def _other_weights(folder: Path, how: str) -> UserError:
    return UserError(
        f"{folder}: the weights are not those of config.json: they {how}; copy both from where the "
        "model was saved"
    )
