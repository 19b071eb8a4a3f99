"""Items that come after a model was trained: paths for them, in the tokens that the model has.

Nothing is learned from them. Their vectors come from the encoder as it was trained, their codes
from the codebooks as they are, and the items so far keep their paths, so that the model can
recommend the new items at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.config.schema import Recipe
from recllm.data_prep.embed import encode_new
from recllm.data_prep.quantizers import ExtensionInput, Indexer
from recllm.data_prep.sid import read_codebooks, read_state
from recllm.data_prep.sources._rejects import Rejects
from recllm.data_prep.tables import session
from recllm.prompts.tasks import CatalogText

pc: Any = pyarrow.compute  # its functions are made when it is imported


@dataclass(frozen=True)
class LaterItems:
    """What a file has beyond a catalogue.

    Attributes:
        items: the items that the catalogue lacks, with its columns, in the order of their ids;
            a title that is missing is the id, everything else that is missing is null.
        counts: `items`; `known`, passed over because the catalogue has them; `titled_by_id`;
            `columns_passed_over`, that the catalogue does not have; `rejected_<reason>`.
    """

    items: Items
    counts: Mapping[str, int]


def read_later_items(recipe: Recipe, file: Path, known: Items, out: Path) -> LaterItems:
    """Read the items of a file that are not in the catalogue `known`.

    The recipe's source says what the columns are called. Rows that cannot be understood are set
    aside in `rejects.parquet` in the folder `out`, as the recipe allows it. The recipe's filters
    do not apply: who adds items wants them.

    Raises:
        UserError: the file cannot be read, lacks the ids, or an id stands in it twice.
    """
    rejects = Rejects(recipe.data.source.max_reject_rate)
    with session() as con:
        table = recipe.data.source.read_items(con, file, rejects)
        found: pa.Table = table.order_by("item_id").to_pyarrow()
        counts = rejects.write(con, out)
    is_known = pc.is_in(found["item_id"], value_set=pa.array(known.ids, pa.string()))
    new = found.filter(pc.invert(is_known))
    table = _with_columns_of(known.table, new)
    untitled = table["title"].null_count
    titles = pc.coalesce(table["title"], table["item_id"])
    items = Items(table.set_column(table.column_names.index("title"), "title", titles))
    extra = len(set(found.column_names) - set(known.columns))
    return LaterItems(
        items,
        {
            "items": len(items),
            "known": len(found) - len(items),
            "titled_by_id": untitled,
            "columns_passed_over": extra,
            **counts,
        },
    )


def _with_columns_of(catalogue: pa.Table, new: pa.Table) -> pa.Table:
    """The new rows with the catalogue's columns and types; `item` counts on."""
    columns = {}
    for column in catalogue.schema:
        if column.name == "item":
            numbers = np.arange(len(catalogue), len(catalogue) + len(new))
            columns["item"] = pa.array(numbers, column.type)
        elif column.name in new.column_names:
            columns[column.name] = new[column.name].cast(column.type)
        else:
            columns[column.name] = pa.nulls(len(new), column.type)
    return pa.table(columns)


def _appended(catalogue: pa.Table, new: pa.Table) -> pa.Table:
    """Both tables, one below the other. A column that had to have values may lack them now."""
    fields = [
        column.with_nullable(column.nullable or new[column.name].null_count > 0)
        for column in catalogue.schema
    ]
    schema = pa.schema(fields, metadata=catalogue.schema.metadata)
    parts = [pa.Table.from_arrays(part.columns, schema=schema) for part in (catalogue, new)]
    return pa.concat_tables(parts)


@dataclass(frozen=True)
class Grown:
    """A catalogue with its new items, which follow the others.

    Attributes:
        catalog: all items; those so far are what they were.
        counts: of the new items: `moved`, whose path was changed to tell it apart; `zero_vectors`,
            of which the encoder knows nothing; and what scheme and encoder count.
    """

    catalog: CatalogText
    counts: Mapping[str, int]


def extend_catalogue(
    recipe: Recipe, catalog: CatalogText, later: Items, sid: Path, embed: Path | None
) -> Grown:
    """Give later items paths, and append them to the catalogue.

    Args:
        catalog: the items so far.
        later: from `read_later_items`; at least one.
        sid: the folder of the stage sid.
        embed: that of the stage embed, where the scheme uses vectors.

    Raises:
        UserError: the encoder or the scheme cannot do this, or there is no room for so many.
    """
    scheme: Indexer = recipe.sid.quantizer
    encoding: dict[str, int] = {}

    def read_vectors() -> NDArray[np.float32]:
        assert embed is not None
        encoded = encode_new(recipe, later, embed)
        encoding["zero_vectors"] = int((~encoded.vectors.any(axis=1)).sum())
        encoding.update(encoded.counts)
        return encoded.vectors

    given = ExtensionInput(
        index=catalog.sids,
        items=later,
        seed=recipe.seed,
        codebooks=read_codebooks(sid),
        state=read_state(sid),
        read_vectors=read_vectors,
    )
    extension = scheme.extend(given)
    grown = Items(_appended(catalog.items.table, later.table))
    return Grown(
        CatalogText(grown, extension.index),
        {"moved": extension.moved, **extension.counts, **encoding},
    )
