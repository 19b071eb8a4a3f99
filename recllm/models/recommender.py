"""A recommender: a model with the tokenizer, the SIDs and the items that it speaks of."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from recllm.catalog.histories import History
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex
from recllm.catalog.trie import Trie
from recllm.config.eval_section import Scoring
from recllm.decoding.engine import Ranking, TreeDecoder
from recllm.errors import UserError
from recllm.models.backbone import on_device
from recllm.models.checkpoint_check import require_files
from recllm.models.checkpoint_files import (
    describe,
    read_renderer,
    reading,
    write_catalog,
)
from recllm.models.checkpoint_ids import checkpoint_folder
from recllm.models.item_trie import item_trie
from recllm.models.loading import load_merged, load_weights
from recllm.models.references import is_adapter
from recllm.models.requests import Recommendation, Selection, Unknown, read_request
from recllm.models.tuned import TunedModel
from recllm.prompts.renderer import Renderer

log = logging.getLogger(__name__)

#: As wide a search as evaluation's, even for a short list: a narrow one finds worse items.
BEAMS = 50


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
        return self._without(self.items.index_of(list(item_ids)))

    def _without(self, items: History) -> "Recommender":
        fewer = replace(self)
        vars(fewer)["trie"] = self.trie.without(items)
        return fewer

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude: Selection | None = None,
        only: Selection | None = None,
        exclude_history: bool | None = None,
        beams: int = BEAMS,
        unknown: Unknown = "refuse",
    ) -> list[list[Recommendation]]:
        """The best `k` items for each history, best first; fewer where fewer may be returned.

        Histories are run in batches that fit into memory.

        Args:
            histories: for each user the ids of their items, oldest first.
            exclude: ids that are not recommended: a list of ids for all histories, or for each
                history a list of its own. They take no places.
            only: ids that alone may be recommended, such as those in stock; as `exclude`.
            exclude_history: whether items of the history are never recommended; by default as the
                checkpoint was chosen.
            beams: how many items are searched for; at least `k` are. Fewer find worse items.
            unknown: what becomes of ids that the catalogue lacks: `skip` leaves them out, and logs
                how many; a history of which nothing is left gets an empty list.

        Raises:
            UserError: an id is not known, a history is empty (unless such are skipped), a list has
                another form, or the model ranks no items.
        """
        if k < 1 or beams < 1:
            raise UserError(f"k and beams: expected at least 1, found {k} and {beams}")
        asked = read_request(self.items, histories, exclude, only, unknown)
        found: list[list[Recommendation]] = [[] for _ in histories]
        if not asked.histories:
            return found
        fewer = self._without(asked.exclude.of_all) if asked.exclude.of_all else self
        excludes = self.exclude_history if exclude_history is None else exclude_history
        ranking = fewer.rank_prompts(
            self.renderer.recommendation_prompts(asked.histories),
            beams=max(k, beams),
            exclude=asked.excluded(with_histories=excludes),
            only=asked.allowed(),
        )
        ids, titles = self.items.ids, self.items.titles
        for row, items, scores in zip(asked.rows, ranking.items, ranking.scores, strict=True):
            found[row] = [
                Recommendation(ids[item], titles[item], float(score))
                for item, score in zip(items[:k], scores[:k], strict=True)
                if item >= 0
            ]
        return found

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
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        trust_remote_code: bool = False,
    ) -> "Recommender":
        """The recommender of a checkpoint's folder, of a run's, or of the Hugging Face Hub.

        Weights are read from safetensors alone.

        Args:
            name: a folder, or user/name or user/name@revision of the Hub, from which only what is
                missing in its cache is downloaded.
            revision: a branch, tag or commit of the Hub.
            dtype: of the weights; what an adapter holds is float32.
            trust_remote_code: whether Python code of the model's repository may run.

        Raises:
            UserError: there is no such checkpoint, the Hub gives it not, or as `load`.
        """
        name = name if revision is None else f"{name}@{revision}"
        folder = checkpoint_folder(name, code=trust_remote_code)
        with reading(folder):  # a description of another format is said first
            require_files(folder)
        return cls.load(folder, dtype, trust_remote_code)

    @classmethod
    def load(
        cls, folder: Path, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False
    ) -> "Recommender":
        """Read what `save` wrote, onto the GPU where there is one.

        An adapter comes on its base, in 4 or 8 bits where it was trained so.

        Args:
            dtype: of the weights; what an adapter holds is float32.
            trust_remote_code: whether Python code of the model's repository may run.

        Raises:
            UserError: the folder is not a recommender, a file of it is missing, or the base of an
                adapter is missing or another.
        """
        return cls._load(
            folder, lambda: load_weights(folder, dtype, trust_remote_code), trust_remote_code
        )

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
    def _load(
        cls,
        folder: Path,
        weights: Callable[[], PreTrainedModel],
        trust_remote_code: bool = False,
    ) -> "Recommender":
        with reading(folder) as description:
            scoring, exclude_history = description["scoring"], description["exclude_history"]
            renderer = read_renderer(folder, description, trust_remote_code)
            model = weights()
        return cls(on_device(model), renderer, scoring, exclude_history)
