"""Texts that go with log rows: where these stand in the sequences."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recllm.errors import UserError
from recllm.prompts.examples import NOWHERE, Material, Texts


def place_texts(task: str, material: Material, texts: Texts) -> NDArray[np.int64]:
    """Where the log row of each text stands; NOWHERE for rows that the split does not have.

    Raises:
        UserError: a row is another user's or another item's than the text says, so that the file
            is of another log.
    """
    assert texts.rows is not None
    places = material.places_of(texts.rows)
    known = np.flatnonzero(places != NOWHERE)
    at = places[known]
    if texts.user_ids is not None:
        owner = material.sequences.owners(at)
        found = [material.sequences.user_ids[i] for i in owner]
        _refuse_others(task, "user", texts, known=known, said=texts.user_ids, found=found)
    if texts.item_ids is not None:
        ids = material.catalog.items.ids
        found = [ids[i] for i in material.sequences.items[at]]
        _refuse_others(task, "item", texts, known=known, said=texts.item_ids, found=found)
    return places


def text_keys(ids: NDArray[np.int64], texts: Sequence[str]) -> NDArray[np.int64]:
    """A number for each pair of an id and a text, wherever it stands."""
    checks = np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.int64)
    return (ids.astype(np.int64) << 32) + checks


def _refuse_others(
    task: str,
    kind: str,
    texts: Texts,
    *,
    known: NDArray[np.int64],
    said: Sequence[str],
    found: Sequence[str],
) -> None:
    assert texts.rows is not None
    pairs = zip(known.tolist(), found, strict=True)
    wrong = [(index, other) for index, other in pairs if said[index] != other]
    if wrong:
        index, other = wrong[0]
        raise UserError(
            f"task {task}: {len(wrong)} texts name another {kind} than the log has in their row: "
            f"row {texts.rows[index]} is of {kind} {other!r}, the text says {said[index]!r}; "
            "rows count the log's interactions from 0, as they were ingested"
        )
