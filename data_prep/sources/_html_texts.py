"""Texts from web pages made plain: tags and scripts out, entities to characters, white space one.

Batches of Arrow text: the patterns run in C++ (RE2), and only texts that hold an entity are
touched in Python.
"""

import html
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

#: Its functions are made when it is imported, so that no type checker knows them.
compute: Any = pyarrow.compute
#: Entities may be escaped again and again ("&amp;amp;"); more than this is no accident.
MOST_ESCAPES = 3
#: What stands in a title where a page's script or style was taken for it.
BROKEN = (
    r"(?i)getTime\(|aPageStart|<(script|style|span)\b|text/(javascript|css)|\bfunction\s*\("
    r"|\{\s*(display|margin|padding|color|font-[a-z]+)\s*:"
)
HIDDEN = r"(?is)<(script|style)\b.*?</(script|style)\s*>|<!--.*?-->"
INLINE = r"(?i)</?(b|i|u|em|strong|span|font|a|sup|sub|small|big)(\s[^<>]*)?/?>"
TAG = r"(?s)</?[a-zA-Z][^<>]*>"
ENTITY = r"&(#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);?"
SPACE = r"[\s\x{00a0}\x{200b}]+"


def clean_batches(
    batches: Iterable[pa.RecordBatch], columns: Iterable[str], counts: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """The batches with the text `columns` made plain; texts of which nothing is left are null.

    A `title` that holds a page's script or style is rejected: it becomes null.

    Args:
        counts: gets `titles_broken`, and how many texts held tags (`texts_with_tags`) and
            entities (`texts_with_entities`).
    """
    chosen = set(columns)
    for batch in batches:
        arrays = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            text = column
            if name == "title":
                broken = compute.fill_null(compute.match_substring_regex(text, BROKEN), False)
                counts["titles_broken"] += compute.sum(broken).as_py() or 0
                text = compute.if_else(broken, pa.scalar(None, pa.string()), text)
            text = _clean(text, counts) if name in chosen else text
            arrays.append(_without_gaps(text) if name == "categories" else text)
        yield pa.record_batch(arrays, names=batch.schema.names)


def _clean(text: pa.Array, counts: Counter[str]) -> pa.Array:
    stripped = _without_tags(text)
    tagged = compute.not_equal(stripped, text)
    readable, escaped = _unescaped(stripped)
    untagged = _without_tags(readable)  # of tags that were escaped
    tagged = compute.or_(tagged, compute.not_equal(untagged, readable))
    counts["texts_with_tags"] += compute.sum(tagged).as_py() or 0
    counts["texts_with_entities"] += escaped
    plain = compute.replace_substring_regex(untagged, SPACE, " ")
    plain = compute.utf8_trim(plain, " ")
    return compute.if_else(compute.equal(plain, ""), pa.scalar(None, pa.string()), plain)


def _without_gaps(paths: pa.Array) -> pa.Array:
    """Paths `A > B` without the elements of which nothing is left."""
    paths = compute.replace_substring_regex(paths, r" *>( *>)+ *", " > ")
    return compute.replace_substring_regex(paths, r"^ *> *| *> *$", "")


def _without_tags(text: pa.Array) -> pa.Array:
    for pattern, instead in ((HIDDEN, " "), (INLINE, ""), (TAG, " ")):
        text = compute.replace_substring_regex(text, pattern, instead)
    return text


def _unescaped(text: pa.Array) -> tuple[pa.Array, int]:
    """The texts with characters for entities, and how many held some."""
    suspected = compute.fill_null(compute.match_substring_regex(text, ENTITY), False)
    before = text.filter(suspected)
    after = [_unescape(value) for value in before.to_pylist()]
    changed = sum(old != new for old, new in zip(before.to_pylist(), after, strict=True))
    return compute.replace_with_mask(text, suspected, pa.array(after, pa.string())), changed


def _unescape(text: str) -> str:
    for _ in range(MOST_ESCAPES):
        found = html.unescape(text)
        if found == text:
            break
        text = found
    return text
