"""The stage `prompts`: the tokenizer with its SID tokens, and the training rows."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recllm.artifacts.manifest import hash_file
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows, read_moments
from recllm.catalog.items import Items
from recllm.catalog.sids import TitleIndex, read_index
from recllm.catalog.split_names import SPLITS
from recllm.config.schema import ModelSection
from recllm.config.task_mix import TaskShare
from recllm.data_prep.prompt_texts import check_text_file, text_file_hash
from recllm.data_prep.task_rows import TaskRows
from recllm.data_prep.training_table import describe_samples, write_rows
from recllm.errors import UserError
from recllm.models.model_names import identity, tokenizer_source
from recllm.prompts.examples import CatalogText, Material
from recllm.prompts.leaks import check_leaks
from recllm.prompts.template import ALL_TARGETS_TEMPLATE, NO_CHAT_TEMPLATE, Template


class Prompts(Stage):
    """Writes `tokenizer/`, `train.parquet`, `samples.md`, `template.json` and kept texts."""

    name = "prompts"
    parents = ("filter", "split", "sid")
    seeded = True
    publishes: Mapping[str, str] = {"samples.md": "samples.md"}

    def settings(self) -> dict[str, Any]:
        """The tokenizer, the template and the mix of tasks, files by their content."""
        settings = {
            "tokenizer": tokenizer_identity(self.recipe.model),
            "template": self._template.to_json(),
            "max_history": self.recipe.prompts.max_history,
            "tasks": self._task_settings,
            "targets": self.recipe.sft.targets,
        }
        kept = self._tasks_with_kept_texts
        return settings | {"texts": kept} if kept else settings

    @property
    def _tasks_with_kept_texts(self) -> list[str]:
        """The tasks whose texts evaluation asks by: intents of held-out interactions."""
        tasks = [share.task for share in self._mix]
        return [task.name for task in tasks if task.text_file and task.text_file.optional]

    @cached_property
    def _task_settings(self) -> dict[str, Any]:
        given = dict(self.recipe.sft.tasks)
        for share in self._mix:
            content = text_file_hash(share.task)
            if content is not None:
                given[share.task.name] = {**given[share.task.name], "file": content}
        return given

    @cached_property
    def _mix(self) -> list[TaskShare]:
        return self.recipe.sft.mix

    @cached_property
    def _task_rows(self) -> TaskRows:
        shown = self.recipe.prompts.max_history
        return TaskRows(self._mix, "sft", shown, self.recipe.seed)

    @cached_property
    def _template(self) -> Template:
        return Template.load(self.recipe.prompts.template)

    def check(self) -> None:
        """Refuse a template that does not fit the tasks, and tasks without their files or SIDs."""
        template = self._template
        if "train" not in self.recipe.data.split.needed:
            raise UserError(
                "data.evaluate_only needs no training rows, so nothing is trained: evaluate models "
                "that are trained already with recllm eval --checkpoint, or set it to false"
            )
        if self.recipe.sft.targets == "all" and not template.fits_all_targets:
            raise UserError(ALL_TARGETS_TEMPLATE)
        if template.chat and self.recipe.model.from_scratch is not None:
            raise UserError(NO_CHAT_TEMPLATE)
        template.check_scoring(self.recipe.eval.scoring)
        if len(self._mix) > 1 and "{instruction}" not in template.prompt:
            raise UserError(
                f"prompts.template has no {{instruction}}, by which a model tells the "
                f"{len(self._mix)} tasks of sft.tasks apart; use prompts.template: plain, or one "
                "task"
            )
        for share in self._mix:
            check_text_file(share.task)
            if share.task.needs_sids and self.recipe.sid.quantizer.name == "title":
                raise UserError(
                    f"sft.tasks.{share.task.name} writes SIDs, but under sid.quantizer: title "
                    "items go by their titles; set another quantizer, or leave the task out"
                )

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Render the training rows of every task; see the base class."""
        from recllm.models.checkpoint_files import check_same_sids
        from recllm.models.tokenizers import add_sid_tokens, load_tokenizer
        from recllm.prompts.renderer import Renderer
        from recllm.prompts.training import check_depths

        sequences = Sequences.read(inputs["split"])
        splits = {name: SplitRows.read(inputs["split"], name, sequences) for name in SPLITS}
        cut = self.recipe.data.split.global_cut
        times = read_moments(inputs["filter"], sequences, cut)
        counts = check_leaks(sequences, splits, times)
        if self.recipe.sft.targets == "all":
            _check_all_are_targets(sequences, splits["train"])
        items = Items.read(inputs["filter"] / "items.parquet")
        sids = read_index(inputs["sid"] / "sids.parquet")
        check_depths(self.recipe, sids)
        if self.recipe.model.name is not None:
            check_same_sids(self.recipe.model.name, sids)
        catalog = CatalogText(items, sids).separated(self._template.separator)
        materials = self._task_rows.materials(inputs["filter"], catalog, sequences, splits["train"])
        tokenizer = load_tokenizer(self.recipe.model, self._tokenizer_texts(materials, items))
        add_sid_tokens(tokenizer, sids)
        tokenizer.save_pretrained(out / "tokenizer")
        (out / "template.json").write_text(self._template.to_json())
        renderer = Renderer(
            self._template, CatalogText(items, sids), tokenizer, self.recipe.prompts.max_history
        )
        if isinstance(sids, TitleIndex):
            counts |= _count_title_tokens(renderer)
        for name in self._tasks_with_kept_texts:
            texts = materials[name].texts
            assert texts is not None
            texts.write(out, name)
        all_targets = self.recipe.sft.targets == "all"
        rows = self._task_rows.rows(renderer, materials, counts, all_targets=all_targets)
        counts |= write_rows(rows, out / "train.parquet")
        (out / "samples.md").write_text(describe_samples(out / "train.parquet", tokenizer))
        return counts

    def _tokenizer_texts(self, materials: Mapping[str, Material], items: Items) -> list[str]:
        """Texts of items and tasks, and the instructions often, so that they become few tokens."""
        instructions: list[str] = []
        texts = items.texts()
        for share in self._mix:
            first, *others = share.task.forms
            instructions += self._template.phrasings(share.task.name, first)
            instructions += [phrasing for form in others for phrasing in form]
            instructions += share.task.words
            found = materials[share.task.name].texts
            texts += found.texts if found is not None else []
        return texts + instructions * max(10, len(items) // 10)


def tokenizer_identity(model: ModelSection) -> Any:
    """What decides a model's tokenizer: sizes from scratch, a folder's files, or a Hub id.

    Of a recommender on the Hub its commit there.
    """
    if model.from_scratch is not None:
        return {"vocabulary": model.from_scratch.vocabulary}
    assert model.name is not None
    if (commit := identity(model.name)) is not None:
        return commit
    place = tokenizer_source(model.name)
    folder = Path(place.name)
    if not folder.is_dir():
        return place.name if place.revision is None else f"{place.name}@{place.revision}"
    weights = {".safetensors", ".bin", ".pt", ".pth", ".gguf"}
    files = (p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix not in weights)
    return {path.name: hash_file(path) for path in files}


def _count_title_tokens(renderer: Any) -> dict[str, int]:
    """Titles are items only as far as the tokenizer tells them apart.

    Raises:
        UserError: a title has no tokens, or holds the end-of-sequence token.
    """
    import torch

    from recllm.models.item_trie import item_trie

    trie = item_trie(renderer)
    paths = trie.is_leaf(torch.arange(trie.level_start[-1], device=trie.device)).sum()
    return {
        "longest_title_tokens": trie.depth - 1,
        "titles_of_equal_tokens": len(trie) - int(paths),
    }


def _check_all_are_targets(sequences: Sequences, train: SplitRows) -> None:
    """Refuse `targets: all` where it would train other targets than the split's.

    Raises:
        UserError: the split comes with histories of its own, whose items are no targets, or
            some interactions are history only.
    """
    in_sequences = int(np.maximum(sequences.train_ends - 1, 0).sum())
    if in_sequences != len(train):
        raise UserError(
            f"sft.targets: all would train {in_sequences:,} targets, but the split has "
            f"{len(train):,}: its histories are ready-made, or some of their items are no "
            "targets; use sft.targets: last"
        )
