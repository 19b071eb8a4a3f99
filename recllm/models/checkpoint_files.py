"""What stands beside the weights in a recommender's folder: catalogue, tokenizer, description."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from recllm.artifacts.manifest import hash_json
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex, SidIndex, read_index
from recllm.config.plugins import TASKS
from recllm.errors import UserError
from recllm.models.model_names import find_model
from recllm.models.references import DESCRIPTION
from recllm.models.tokenizers import known_sid_token_ids, load_tokenizer_of
from recllm.prompts.renderer import Renderer, sequential_recommendation
from recllm.prompts.tasks import CatalogText, Task
from recllm.prompts.template import Template

ITEMS_FILE, SIDS_FILE = "items.parquet", "sids.parquet"
FORMAT = 1


def write_catalog(folder: Path, catalog: CatalogText) -> None:
    """Write the catalogue of a recommender into its folder."""
    catalog.items.write(folder / ITEMS_FILE)
    catalog.sids.write(folder / SIDS_FILE)


def describe(
    folder: Path, renderer: Renderer, scoring: str, exclude_history: bool, **more: Any
) -> None:
    """Write what `reading` yields: how a recommender is asked and ranks.

    Args:
        more: what an adapter's loading needs.
    """
    description = {
        "format": FORMAT,
        "template": json.loads(renderer.template.to_json()),
        "max_history": renderer.max_history,
        "asked_by": describe_task(renderer.asked_by),
        "scoring": scoring,
        "exclude_history": exclude_history,
        "sid_tokens": _token_identity(renderer.tokenizer, renderer.catalog.sids),
    }
    text = json.dumps(description | more, indent=2, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text)


def load_catalog(folder: Path) -> CatalogText:
    """The catalogue of the recommender saved in a folder.

    Raises:
        UserError: as `Recommender.load`.
    """
    with reading(folder):
        return _catalog(folder)


def load_renderer(folder: Path) -> Renderer:
    """How the recommender saved in a folder renders prompts, without its model.

    Raises:
        UserError: as `Recommender.load`.
    """
    with reading(folder) as description:
        return read_renderer(folder, description)


@contextmanager
def reading(folder: Path) -> Iterator[dict[str, Any]]:
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
        said = " ".join(str(error).split())
        raise UserError(f"{folder}: the checkpoint cannot be read: {said}") from None


def read_renderer(
    folder: Path, description: dict[str, Any], trust_remote_code: bool = False
) -> Renderer:
    """How the recommender in a folder renders prompts.

    Args:
        trust_remote_code: whether code of a tokenizer may run.

    Raises:
        UserError: the tokenizer lacks SID tokens, or has them in other places than the model.
    """
    template = Template(**description["template"])
    catalog = _catalog(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    _check_tokens(folder, tokenizer, catalog.sids)
    known = description.get("sid_tokens")  # checkpoints of earlier versions do not have it
    if known is not None and known != _token_identity(tokenizer, catalog.sids):
        raise UserError(
            f"{folder}: the tokenizer gives the SID tokens other ids than the model was trained "
            "with; put the tokenizer there that was saved with the model"
        )
    asked_by = description.get("asked_by")
    task = sequential_recommendation() if asked_by is None else _described_task(asked_by)
    return Renderer(template, catalog, tokenizer, description["max_history"], task)


def describe_task(task: Task) -> dict[str, Any]:
    """A task with its options, as it stands in a description."""
    return {"task": task.name, "options": task.model_dump(mode="json")}


def _described_task(described: Mapping[str, Any]) -> Task:
    return TASKS.load(described["task"]).model_validate(described["options"])


def check_same_sids(name: str, sids: ItemIndex) -> None:
    """Refuse to train a recommender further on other SIDs than it has learnt.

    Where one catalogue is the other with more items after it, their SIDs are the same. A model of
    titles goes with any SIDs.

    Args:
        name: of a model; what is no recommender has no SIDs.
        sids: the run's.

    Raises:
        UserError: the SIDs differ, or the recommender's tokenizer lacks its own.
    """
    folder = Path(find_model(name).name)
    if not (folder / DESCRIPTION).is_file():
        return
    theirs = read_index(folder / SIDS_FILE)
    if not isinstance(theirs, SidIndex) or not isinstance(sids, SidIndex):
        return
    if not (sids.begins_with(theirs) or theirs.begins_with(sids)):
        raise UserError(
            f"model.name: the checkpoint in {name} was trained with other SIDs than this run's "
            f"({_difference(theirs, sids)}), so that its tokens mean other items; take the data, "
            "embed, sid and seed settings of its run, or start from its base model"
        )
    _check_tokens(folder, load_tokenizer_of(name), theirs)


def require_same_catalog(key: str, folder: Path, sids: ItemIndex) -> None:
    """Refuse a recommender whose items or SIDs are not exactly the run's.

    Args:
        key: of the recipe, that names the folder.

    Raises:
        UserError: they are not, or the folder holds no recommender.
    """
    theirs = load_catalog(folder).sids
    if theirs.item_ids == sids.item_ids and theirs.texts() == sids.texts():
        return
    kinds = (isinstance(theirs, SidIndex), isinstance(sids, SidIndex))
    if isinstance(theirs, SidIndex) and isinstance(sids, SidIndex):
        found = _difference(theirs, sids)
    else:
        found = " and ".join("SIDs" if kind else "titles" for kind in kinds)
    raise UserError(
        f"{key}: the checkpoint in {folder} was trained with other SIDs than this run's ({found}), "
        "so that its answers mean other items; take the data, embed, sid and seed settings of its "
        "run"
    )


def _difference(theirs: SidIndex, ours: SidIndex) -> str:
    if theirs.sizes != ours.sizes:
        return f"it has {theirs.sizes} codes at its levels, this run {ours.sizes}"
    known = dict(zip(theirs.item_ids, theirs.texts(), strict=True))
    shared = [(i, s) for i, s in zip(ours.item_ids, ours.texts(), strict=True) if i in known]
    moved = [(item, sid) for item, sid in shared if known[item] != sid]
    if moved:
        item, sid = moved[0]
        return (
            f"{len(moved)} of {len(shared)} items have another one, such as {item!r}: "
            f"{known[item]} there, {sid} here"
        )
    return f"{len(shared)} of {len(ours)} items are in both, in another order or not all"


def _token_identity(tokenizer: PreTrainedTokenizerBase, sids: ItemIndex) -> str | None:
    """Equal where SID tokens have equal ids; None for titles, which have no tokens of their own."""
    if not isinstance(sids, SidIndex):
        return None
    return hash_json([ids.tolist() for ids in known_sid_token_ids(tokenizer, sids)])


def _check_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase, sids: ItemIndex) -> None:
    try:
        if isinstance(sids, SidIndex):
            known_sid_token_ids(tokenizer, sids)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None


def _catalog(folder: Path) -> CatalogText:
    catalog = CatalogText(Items.read(folder / ITEMS_FILE), read_index(folder / SIDS_FILE))
    if catalog.items.ids != catalog.sids.item_ids:
        raise UserError(
            f"{folder}: {SIDS_FILE} names {len(catalog.sids)} items, {ITEMS_FILE} others or in "
            f"another order ({len(catalog.items)}); copy both from where the model was saved"
        )
    return catalog
