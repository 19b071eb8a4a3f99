"""The stage `prompts`: the tokenizer with its SID tokens, and the training rows."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recllm.artifacts.manifest import hash_file
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows, read_moments
from recllm.catalog.items import Items
from recllm.catalog.sids import TitleIndex, read_index
from recllm.catalog.split_names import SPLITS
from recllm.config.plugins import TASKS
from recllm.config.schema import ModelSection
from recllm.errors import UserError
from recllm.prompts.leaks import check_leaks
from recllm.prompts.template import ALL_TARGETS_TEMPLATE, Template

ROWS_A_WRITE = 20_000
SAMPLES = 3

SCHEMA = pa.schema(
    {
        "task": pa.string(),
        "row": pa.int64(),
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.int32()),
    }
)


class Prompts(Stage):
    """Writes `tokenizer/`, `train.parquet`, `samples.md` and `template.json`."""

    name = "prompts"
    parents = ("filter", "split", "sid")
    seeded = True
    publishes: ClassVar[dict[str, str]] = {"samples.md": "samples.md"}

    def settings(self) -> dict[str, Any]:
        """The tokenizer, the template and the mix of tasks."""
        template = Template.load(self.recipe.prompts.template)
        return {
            "tokenizer": tokenizer_identity(self.recipe.model),
            "template": template.to_json(),
            "max_history": self.recipe.prompts.max_history,
            "tasks": self.recipe.sft.tasks,
            "targets": self.recipe.sft.targets,
        }

    def check(self) -> None:
        """Refuse a template that does not fit the targets."""
        template = Template.load(self.recipe.prompts.template)
        if self.recipe.sft.targets == "all" and not template.ends_with_input:
            raise UserError(ALL_TARGETS_TEMPLATE)

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Render the training rows of every task; see the base class."""
        from recllm.models.tokenizers import add_sid_tokens, load_tokenizer
        from recllm.prompts.renderer import Renderer
        from recllm.prompts.tasks import CatalogText
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
        tokenizer = load_tokenizer(self.recipe.model, self._tokenizer_texts(items))
        add_sid_tokens(tokenizer, sids)
        tokenizer.save_pretrained(out / "tokenizer")
        template = Template.load(self.recipe.prompts.template)
        (out / "template.json").write_text(template.to_json())
        renderer = Renderer(
            template, CatalogText(items, sids), tokenizer, self.recipe.prompts.max_history
        )
        if isinstance(sids, TitleIndex):
            counts |= _count_title_tokens(renderer)
        rows = self._rows(renderer, sequences, splits["train"])
        counts |= _write(rows, out / "train.parquet")
        (out / "samples.md").write_text(_samples(out / "train.parquet", tokenizer))
        return counts

    def _tokenizer_texts(self, items: Items) -> list[str]:
        """Item texts, and the instructions often enough that they become few tokens."""
        tasks = [TASKS.load(name) for name in self.recipe.sft.tasks]
        instructions = [phrasing for task in tasks for phrasing in task.phrasings]
        return items.texts() + instructions * max(10, len(items) // 10)

    def _rows(self, renderer: Any, sequences: Sequences, train: SplitRows) -> Iterator[Any]:
        from recllm.prompts.training import all_target_rows, last_target_rows

        sft, seed = self.recipe.sft, self.recipe.seed
        parts = []
        for name, weight in sft.tasks.items():
            task = TASKS.load(name)()
            if sft.targets == "all":
                parts.append(all_target_rows(renderer, task, sequences, weight, seed))
            else:
                parts.append(last_target_rows(renderer, task, train, weight, seed))
        return chain.from_iterable(parts)


def tokenizer_identity(model: ModelSection) -> Any:
    """What decides a model's tokenizer: sizes from scratch, a folder's files, or a Hub id."""
    if model.from_scratch is not None:
        return {"vocabulary": model.from_scratch.vocabulary}
    assert model.name is not None
    folder = Path(model.name)
    if not folder.is_dir():
        return model.name
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


def _write(rows: Iterator[Any], path: Path) -> dict[str, int]:
    """Write training rows in parts; returns how many rows, tokens and supervised tokens."""
    counts = {"rows": 0, "tokens": 0, "supervised_tokens": 0}
    with pq.ParquetWriter(path, SCHEMA) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(vars(row))
            counts["rows"] += 1
            counts["tokens"] += len(row.input_ids)
            counts["supervised_tokens"] += sum(label >= 0 for label in row.labels)
            if len(batch) == ROWS_A_WRITE:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
    if counts["rows"] == 0:
        raise UserError(
            "there is nothing to train on: no user has two training interactions; "
            "give a longer log, or filter less (data.k_core, data.min_rating)"
        )
    return counts


def _samples(path: Path, tokenizer: Any) -> str:
    """A few rows of each task as text, with what carries loss marked."""
    table = pq.read_table(path)
    lines = ["# Training rows", "", "Text that carries loss stands between ⟦ and ⟧."]
    for task in sorted(set(table["task"].to_pylist())):
        rows = table.filter(pc.field("task") == task).slice(0, SAMPLES).to_pylist()
        lines += ["", f"## {task}"]
        for row in rows:
            lines += ["", f"Row {row['row']} of the log:", "", "```text", _marked(row, tokenizer)]
            lines += ["```"]
    return "\n".join(lines) + "\n"


def _marked(row: dict[str, Any], tokenizer: Any) -> str:
    text, inside, run = "", False, []
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        if (label >= 0) != inside:
            text += tokenizer.decode(run) + ("⟧" if inside else "⟦")
            inside, run = not inside, []
        run.append(token)
    return text + tokenizer.decode(run) + ("⟧" if inside else "")
