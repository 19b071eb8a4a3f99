"""The files of texts that tasks ask for: preferences, intents."""

from pathlib import Path

import numpy as np

from recllm.artifacts.manifest import hash_file
from recllm.config.registry import nearest
from recllm.data_prep.sources._log import clean_ids
from recllm.data_prep.sources._reading import column_names, load
from recllm.data_prep.sources._rejects import refuse
from recllm.data_prep.tables import Connection, session
from recllm.data_prep.values import parse_int, stripped
from recllm.errors import UserError
from recllm.prompts.examples import Texts
from recllm.prompts.tasks import Task, TextFile


def text_file_hash(task: Task) -> str | None:
    """The hash of the file that a task names; None where it names none.

    Raises:
        UserError: the file does not exist.
    """
    file = task.text_file
    return None if file is None else hash_file(_existing(task, file))


def check_text_file(task: Task) -> None:
    """Refuse a file of texts that lacks a column.

    Raises:
        UserError: it does, or it cannot be read.
    """
    if task.text_file is not None:
        with session() as con:
            _columns(con, task, task.text_file)


def read_texts(task: Task) -> Texts | None:
    """The texts of the file that a task names, in its order; None where it names none.

    Raises:
        UserError: the file cannot be read, or a value in it cannot be understood.
    """
    file = task.text_file
    if file is None:
        return None
    with session() as con:
        table = load(con, _existing(task, file), _columns(con, task, file))
        problems = {file.column: stripped(table.text).nullif("").isnull()}
        for name in ("item_id", "user_id"):
            if name in table.columns:
                problems[name] = clean_ids(table, name).isnull()
        if "log_row" in table.columns:
            number = parse_int(table.log_row)
            problems["row"] = number.isnull() | (number < 0)
            table = table.mutate(log_row=number)
        refuse(file.path, table, problems)
        ids = {n: clean_ids(table, n) for n in ("item_id", "user_id") if n in table.columns}
        found = table.mutate(**ids).order_by("row").drop("problem", "raw").to_pyarrow()
    if not found.num_rows:
        raise UserError(f"sft.tasks.{task.name}.file: {file.path} holds no texts")
    has_rows = "log_row" in found.column_names
    rows = found["log_row"].to_numpy().astype(np.int64) if has_rows else None
    columns = {name: found[name].to_pylist() for name in ids}
    return Texts(
        texts=[" ".join(text.split()) for text in found["text"].to_pylist()],
        item_ids=columns.get("item_id"),
        user_ids=columns.get("user_id"),
        rows=rows,
    )


def _columns(con: Connection, task: Task, file: TextFile) -> dict[str, str]:
    """The file's columns by their names here.

    Raises:
        UserError: one is missing, or only some of the optional ones are there.
    """
    found = column_names(con, _existing(task, file))
    given = [name for name in file.optional if name in found]
    wanted = [*file.required, *(file.optional if given else ())]
    for name in (*wanted, file.column):
        if name not in found:
            close = nearest(name, found)
            hint = f"did you mean {close!r}? " if close else ""
            key = "; name another with column" if name == file.column else ""
            raise UserError(
                f"sft.tasks.{task.name}.file: expected a column {name!r} in {file.path}; {hint}"
                f"found: {', '.join(found)}{key}"
            )
    return {"log_row" if n == "row" else n: n for n in wanted} | {"text": file.column}


def _existing(task: Task, file: TextFile) -> Path:
    if not file.path.is_file():
        found = "a folder" if file.path.is_dir() else "none"
        raise UserError(f"sft.tasks.{task.name}.file: expected a file {file.path}, found {found}")
    return file.path
