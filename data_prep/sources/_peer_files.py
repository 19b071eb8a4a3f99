"""The files that MiniOneRec and LC-Rec have in common: items, their SIDs and their numbers.

They describe a whole catalogue in one JSON object, which is parsed here in Python; they number the
items from 0 and keep their own ids in a table beside.
"""

import ast
import csv
import gzip
import io
import json
import re
import string
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from recllm.data_prep.sources._reading import existing
from recllm.errors import UserError

COLUMNS = ("item_id", "title", "description", "categories", "brand", "sid")
TOKEN = re.compile(r"<[^<>\s]+>")
#: What stands between the parts of a text that is given as a list.
BETWEEN = {"description": " ", "categories": ", "}


def folder_of(path: Path, project: str) -> Path:
    """The folder with a project's files.

    Raises:
        UserError: there is none.
    """
    if not existing(path).is_dir():
        raise UserError(f"{path}: expected a folder with {project}'s files, found a file")
    return path


def listed(folder: Path) -> str:
    """What stands in a folder, in words."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def read_text(path: Path) -> str:
    """A text file, plain or gzipped.

    Raises:
        UserError: it is empty, cut short or not in UTF-8.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8, found other bytes ({error})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the file cannot be read: {error}") from None
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        UserError: it is none, or a key stands in it twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
            raise UserError(f"{path}: the key {twice!r} stands twice; keep one of them")
        return found

    try:
        parsed = json.loads(read_text(path), object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON, but {error}") from None
    if not isinstance(parsed, dict):
        raise UserError(f"{path}: expected one JSON object, found {_shown(parsed)}")
    return parsed


def read_index(path: Path) -> dict[str, str]:
    """The SID of each item of an `.index.json`, its tokens written together.

    Raises:
        UserError: an item's SID is not a list of tokens such as "<a_12>".
    """
    index = read_object(path)
    for item, tokens in index.items():
        known = isinstance(tokens, list) and tokens
        if not known or not all(isinstance(t, str) and TOKEN.fullmatch(t) for t in tokens):
            raise UserError(
                f"{path}: expected the SID of item {item!r} as a list of tokens such as "
                f'["<a_12>", "<b_200>"], found {_shown(tokens)}'
            )
    return {item: "".join(tokens) for item, tokens in index.items()}


def read_item_texts(path: Path) -> dict[str, dict[str, str | None]]:
    """Title, description, categories and brand of each item of an `.item.json`.

    A text that is a list of strings, or says one as Python writes it, becomes one string.

    Raises:
        UserError: an item is not described by an object.
    """
    described = read_object(path)
    for item, fields in described.items():
        if not isinstance(fields, dict):
            raise UserError(
                f'{path}: expected item {item!r} as an object such as {{"title": "Heat"}}, '
                f"found {_shown(fields)}"
            )
    names = [name for name in COLUMNS if name not in ("item_id", "sid")]
    return {
        item: {name: _plain(fields.get(name), name) for name in names}
        for item, fields in described.items()
    }


def read_own_ids(path: Path) -> dict[str, str]:
    """The user's own id of each item number in an `.item2id`: id, tab, number on each line.

    Raises:
        UserError: a line is not of this form, or an id or a number stands twice.
    """
    own: dict[str, str] = {}
    rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter="\t", strict=True)
    try:
        lines = [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.line_num} cannot be read: {error}") from None
    for line, row in lines:
        if len(row) != 2 or not all(row):
            raise UserError(
                f"{path}: expected an id, a tab and a number in line {line}, found {row}"
            )
        if row[1] in own:
            raise UserError(f"{path}: the number {row[1]} stands twice; keep one of its lines")
        own[row[1]] = row[0]
    if len(set(own.values())) < len(own):
        twice = Counter(own.values()).most_common(1)[0][0]
        raise UserError(f"{path}: the id {twice!r} stands twice; keep one of its lines")
    return own


def require_own_ids(path: Path, own: Mapping[str, str], numbers: Iterable[str]) -> None:
    """Refuse item numbers that the `.item2id` at `path` lacks.

    Raises:
        UserError: there are some.
    """
    strange = sorted(set(numbers) - own.keys())
    if strange:
        raise UserError(
            f"{path}: expected the number of every item, but {len(strange)} are not there (first: "
            f"{strange[0]!r}); add their lines, or remove the file to go by the numbers"
        )


def catalogue(
    texts: Mapping[str, Mapping[str, str | None]], index: Mapping[str, str]
) -> dict[str, dict[str, str | None]]:
    """What is known of each item that has a text or a SID, the columns COLUMNS, by item."""
    nothing: Mapping[str, str | None] = dict.fromkeys(COLUMNS)
    return {
        item: {**nothing, **texts.get(item, {}), "item_id": item, "sid": index.get(item)}
        for item in {**texts, **index}
    }


def item_table(items: Mapping[str, Mapping[str, str | None]]) -> pa.Table:
    """A catalogue as a table of strings."""
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    return pa.Table.from_pylist([dict(item) for item in items.values()], schema)


def count_sids(items: Mapping[str, Mapping[str, str | None]]) -> dict[str, int]:
    """How many items have a SID, have none, and have one that another item has too."""
    sids = [item["sid"] for item in items.values()]
    often = Counter(sid for sid in sids if sid is not None)
    return {
        "items_with_sid": often.total(),
        "items_without_sid": len(sids) - often.total(),
        "items_sharing_a_sid": sum(n for n in often.values() if n > 1),
    }


def _plain(value: Any, name: str) -> str | None:
    """A text without the blanks around it; null where there is none."""
    if isinstance(value, str) and name in BETWEEN and value.startswith("["):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            said = ast.literal_eval(value)
            value = said if _is_list_of_texts(said) else value
    if _is_list_of_texts(value):
        value = BETWEEN.get(name, " ").join(part.strip() for part in value)
    if value is None or value != value:  # noqa: PLR0124 (NaN, as pandas writes what is missing)
        return None
    return str(value).strip(string.whitespace) or None


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
