"""The stage `rl_prompts`: what reinforcement learning asks for, and which item would be right."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import read_index
from recllm.catalog.split_names import SPLITS
from recllm.config.rl_section import NO_RL, WHOLE
from recllm.config.schema import Recipe
from recllm.data_prep.prompt_texts import check_text_file, text_file_hash
from recllm.data_prep.task_rows import TaskRows
from recllm.errors import UserError
from recllm.models.checkpoint_ids import named_checkpoint, named_identity
from recllm.prompts.examples import CatalogText
from recllm.prompts.leaks import check_leaks
from recllm.prompts.template import Template

SCHEMA = pa.schema(
    {"task": pa.string(), "row": pa.int64(), "prompt": pa.list_(pa.int32()), "item": pa.int32()}
)
#: Beside them, where no target is known.
SCHEMA_OF_WHOLE = SCHEMA.append(pa.field(WHOLE, pa.int64()))
ROWS_A_WRITE = 20_000


class RlPrompts(Stage):
    """Writes `prompts.parquet`: task, row (of the log; null for one of the catalogue alone), the
    prompt's token ids, and the item (dense index) that is its target. With `rl.targets: unknown`
    there is a prompt for each training history as a whole, without row and item; `sequence` says
    whose it is.

    The prompts are those of training: of the checkpoint that is trained further, its template.
    """

    name = "rl_prompts"
    seeded = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if recipe.rl is None:
            raise UserError(NO_RL)
        self._section = recipe.rl
        self._mix = recipe.rl.mix(recipe.asked_by)
        own = ("prompts",) if recipe.rl.checkpoint is None else ()
        self.parents = ("filter", "split", "sid", *own)

    def settings(self) -> dict[str, Any]:
        """The mix of tasks, and the template and tokenizer."""
        given = dict(self._section.tasks or {self.recipe.asked_by.name: 1.0})
        for share in self._mix:
            content = text_file_hash(share.task)
            if content is not None:
                given[share.task.name] = {**given[share.task.name], "file": content}
        settings: dict[str, Any] = {"tasks": given}
        settings["max_history"] = self.recipe.prompts.max_history
        if self._section.targets == "unknown":
            settings["targets"] = "unknown"
        if self._section.checkpoint is None:
            return settings | {"template": Template.load(self.recipe.prompts.template).to_json()}
        known = named_identity("rl.checkpoint", self._section.checkpoint)
        return settings | {"checkpoint": known}

    def check(self) -> None:
        """Refuse tasks whose answers are no items, and those without their files."""
        if self.recipe.asked_by.verdicts:
            raise UserError(
                f"rl trains rankings of items, but this model is asked by the task "
                f"{self.recipe.asked_by.name}, which judges one at a time; leave rl out, or train "
                "a task that ranks items, such as seqrec"
            )
        for share in self._mix:
            check_text_file(share.task)

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Render the prompts of every task; see the base class."""
        sequences = Sequences.read(inputs["split"])
        splits = {name: SplitRows.read(inputs["split"], name, sequences) for name in SPLITS}
        renderer = self._renderer(inputs)
        counts = check_leaks(sequences, splits, None)
        path = out / "prompts.parquet"
        if self._section.targets == "unknown":
            counts["empty_histories"] = int((sequences.training.lengths == 0).sum())
            return counts | _write(_whole_histories(sequences, renderer), path, SCHEMA_OF_WHOLE)
        shown = renderer.shown_catalog
        tasks = TaskRows(self._mix, "rl", renderer.max_history, self.recipe.seed)
        materials = tasks.materials(inputs["filter"], shown, sequences, splits["train"])
        rows = tasks.rows(renderer, materials, counts)
        return counts | _write(_with_items(rows, renderer), path, SCHEMA)

    def _renderer(self, inputs: Mapping[str, Path]) -> Any:
        from transformers import AutoTokenizer

        from recllm.models.checkpoint_files import load_renderer, require_same_catalog
        from recllm.prompts.renderer import Renderer

        sids = read_index(inputs["sid"] / "sids.parquet")
        if self._section.checkpoint is not None:
            folder = named_checkpoint("rl.checkpoint", self._section.checkpoint)
            require_same_catalog("rl.checkpoint", folder, sids)
            return load_renderer(folder)
        items = Items.read(inputs["filter"] / "items.parquet")
        tokenizer = AutoTokenizer.from_pretrained(inputs["prompts"] / "tokenizer")
        template = Template.load(self.recipe.prompts.template)
        shown = self.recipe.prompts.max_history
        return Renderer(template, CatalogText(items, sids), tokenizer, shown, self.recipe.asked_by)


def _with_items(rows: Iterable[Any], renderer: Any) -> Iterator[dict[str, Any]]:
    """Training rows as prompts, each with the item that its answer is.

    Raises:
        UserError: an answer is no item.
    """
    from recllm.prompts.training import IGNORED

    paths = renderer.encode_answers(renderer.catalog.sids.texts())
    items = {tuple(path): item for item, path in reversed(list(enumerate(paths)))}
    for row in rows:
        prompt = [i for i, n in zip(row.input_ids, row.labels, strict=True) if n == IGNORED]
        answer = tuple(row.input_ids[len(prompt) : -1])  # without the end-of-sequence token
        if answer not in items:
            raise UserError(
                f"rl.tasks.{row.task} answers with text that is no item "
                f"({renderer.tokenizer.decode(answer)!r}), so that no rollout can be right; leave "
                "it out: rl trains tasks whose answers are items, such as seqrec and title-to-sid"
            )
        yield {"task": row.task, "row": row.row, "prompt": prompt, "item": items[answer]}


def _whole_histories(sequences: Sequences, renderer: Any) -> Iterator[dict[str, Any]]:
    """What follows each training history as a whole; no item is known to be right."""
    training = sequences.training
    whose = np.flatnonzero(training.lengths).tolist()
    prompts = renderer.recommendation_prompts([training[i] for i in whose])
    for sequence, prompt in zip(whose, prompts, strict=True):
        yield {"task": renderer.asked_by.name, "prompt": prompt, WHOLE: sequence}


def _write(rows: Iterable[dict[str, Any]], path: Path, schema: pa.Schema) -> dict[str, int]:
    counts: dict[str, int] = {"prompts": 0}
    with pq.ParquetWriter(path, schema) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(row)
            counts["prompts"] += 1
            of_task = f"prompts_{row['task'].replace('-', '_')}"
            counts[of_task] = counts.get(of_task, 0) + 1
            if len(batch) == ROWS_A_WRITE:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema))
    if not counts["prompts"]:
        raise UserError(
            "rl has nothing to train on: no user has two training interactions; give a longer "
            "log, or filter less (data.k_core, data.min_rating)"
        )
    return counts
