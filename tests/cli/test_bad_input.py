"""Everything a user can get wrong ends with exit code 2 and one message that names the culprit."""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from command_line import Outcome, recllm
from faults import Started

from recllm.artifacts.manifest import Manifest

RECIPE = """
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{source: files, path: {folder}/log.csv}}
model: {{from_scratch: {{hidden: 32, heads: 2}}}}
"""
ROWS = [(f"u{user}", f"i{item}", 100 * user + item) for user in range(8) for item in range(8)]
HEADER = "user_id,item_id,timestamp\n"
LOG = HEADER + "".join(f"{user},{item},{time}\n" for user, item, time in ROWS)
JSON_LOG = "".join(
    json.dumps({"user_id": user, "item_id": item, "timestamp": time}) + "\n"
    for user, item, time in ROWS
)
LATIN_1_JSON_LOG = JSON_LOG.replace("u1", "ü").encode("latin-1")
ITEMS = "item_id,title\n" + "".join(f"i{item},Title {item}\n" for item in range(8))

#: What stands for the folder of the test in arguments and files.
FOLDER = "{folder}"


@dataclass(frozen=True)
class Case:
    """One mistake: the files that hold it, the command, and what the message must say.

    Arguments and texts may speak of the test's folder as `{folder}`; a recipe and a log without
    a mistake are there already. A file that is None is deleted, one that is {} is a folder.
    """

    name: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    files: dict[str, str | bytes | dict | None] = field(default_factory=dict)


def recipe(name: str, more: str | bytes, *says: str) -> Case:
    """A mistake in the text of a recipe that extends the good one."""
    text = more if isinstance(more, bytes) else "extends: recipe\n" + more
    return Case(name, ("run", "{folder}/bad.yaml"), says, {"bad.yaml": text})


def override(name: str, *arguments: str, says: tuple[str, ...]) -> Case:
    """A mistake in what the command line changes in the recipe."""
    return Case(name, ("run", "{folder}/recipe.yaml", *arguments), says)


def log(name: str, file: str, content: str | bytes | dict | None, *says: str) -> Case:
    """A mistake in the log."""
    path = f"data.path={FOLDER}/{file}"
    return Case(name, ("prep", "{folder}/recipe.yaml", path), says, {file: content})


def items(name: str, file: str, content: str | bytes | dict | None, *says: str) -> Case:
    """A mistake in the file of items."""
    path = f"data.items={FOLDER}/{file}"
    return Case(name, ("prep", "{folder}/recipe.yaml", path), (file, *says), {file: content})


def cut(text: str, share: float = 0.5) -> bytes:
    """The first part of a gzipped text."""
    packed = gzip.compress(text.encode())
    return packed[: int(len(packed) * share)]


def replaced(row: int, line: str) -> str:
    """The log with another line in place of a row."""
    lines = LOG.splitlines()
    lines[row] = line
    return "\n".join(lines) + "\n"


RECIPES = [
    recipe("a misspelt section", "evl: {beams: 5}", "evl: unknown key", "did you mean 'eval'?"),
    recipe("a misspelt key", "data: {kcore: 3}", "data.kcore", "did you mean 'k_core'?"),
    recipe("a misspelt nested key", "sid: {health: {min_utilization: 0}}", "min_utilisation"),
    recipe("a misspelt plugin", "embed: {encoder: fussion}", "embed.encoder", "'fusion'"),
    recipe("a misspelt task", "sft: {tasks: {seqrecs: 1}}", "sft.tasks.seqrecs", "'seqrec'?"),
    recipe("a misspelt trainer field", "sft: {trainer: {learning_rat: 1}}", "'learning_rate'"),
    recipe("a trainer field of recllm's own", "sft: {trainer: {seed: 3}}", "sft.trainer.seed"),
    recipe("an option of another plugin", "data: {users: 10}", "data.users", "unknown key"),
    recipe("a text for a number", "sid: {levels: three}", "sid.levels", "'three'"),
    recipe("a list for a section", "sid: [3, 256]", "sid: expected keys", "[3, 256]"),
    recipe("a text for a trainer block", "sft: {trainer: fast}", "sft.trainer", "'fast'"),
    recipe("a number too small", "sid: {levels: 0}", "sid.levels", "greater than or equal to 1"),
    recipe("a number too large", "seed: 99999999999", "seed: expected less than 4294967296"),
    recipe(
        "a number that is none",
        "data: {min_rating: .nan}", "data.min_rating: expected a finite number",
    ),
    recipe("an infinite weight", "sft: {tasks: {seqrec: .inf}}", "'seqrec' must be above 0"),
    recipe("an unknown choice", "sft: {targets: first}", "sft.targets", "'first'"),
    recipe(
        "heads that do not divide",
        "model: {from_scratch: {heads: 5}}", "multiple of 2 × heads (10)",
    ),
    recipe("two backbones", "model: {name: a/b, from_scratch: {hidden: 32}}", "exactly one of"),
    recipe("a model that is nowhere", "model: {name: /no/such/model}", "/no/such/model"),
    recipe("cutoffs beyond the beams", "eval: {beams: 5, cutoffs: [10]}", "cutoffs", "beams (5)"),
    recipe("an untrained score", "sft: {loss: level}", "sft.loss: level", "eval.scoring"),
    recipe("nothing to evaluate", "eval: {cutoffs: []}", "eval.cutoffs"),
    recipe("time and position", "data: {columns: {time: a, position: b}}", "not both"),
    recipe("a key that stands twice", "seed: 1\nseed: 2", "line 3", "'seed'", "twice"),
    recipe("a tab", "sid:\n\tlevels: 3", "bad.yaml", "not valid YAML", "'\\t'"),
    recipe("an open bracket", "sid: {levels: 3", "bad.yaml", "not valid YAML"),
    recipe(
        "an object of Python",
        "seed: !!python/object:os.system {}", "bad.yaml", "not valid YAML",
        "python/object:os.system",
    ),
    recipe(
        "a list of keys",
        b"- seed\n- data\n", "bad.yaml", "expected a mapping of keys, found a list",
    ),
    recipe("nothing at all", b"", "bad.yaml", "expected a mapping"),
    recipe("no section at all", b"seed: 1\n", "output_dir: is required, but missing"),
    recipe("bytes that are no text", b"\xff\xfe\x00\x01seed", "bad.yaml", "cannot be read"),
    recipe("a parent that is nowhere", b"extends: nothing-like\n", "bad.yaml", "'nothing-like'"),
    recipe("a parent that is no name", b"extends: [demo, 7]\n", "extends", "a recipe's name", "7"),
    recipe(
        "a template that is nowhere",
        "prompts: {template: nothing}", "unknown template 'nothing'", "known: alpaca",
    ),
    recipe("a key that is a number", "7: x", "Keys should be strings, found 7"),
    recipe("a key that is a list", "? [a, b]\n: c", "line 2", "['a', 'b']"),
    recipe("a day in a recipe that does not exist", "description: 2024-99-99", "not valid YAML"),
    recipe("a thousand brackets", "seed: " + 1000 * "[" + 1000 * "]", "not valid YAML"),
    recipe("a number of 5000 digits", "seed: " + 5000 * "9", "not valid YAML"),
    recipe(
        "a path with a null in it",
        'output_dir: "a\\0b"', "output_dir: expected a folder", "null in it",
    ),
    recipe("a path too long", "data: {path: " + 5000 * "a" + "}", "File name too long"),
    Case(
        "a circle", ("run", "{folder}/a.yaml"), ("circle", "a.yaml -> b.yaml -> a.yaml"),
        {"a.yaml": "extends: b\n", "b.yaml": "extends: a\n"},
    ),
    Case("a recipe that is a folder", ("run", "{folder}"), ("{folder}", "a folder")),
    Case("a recipe that is nowhere", ("run", "{folder}/no.yaml"), ("no.yaml", "neither a file")),
    Case("a shipped recipe misspelt", ("run", "demoo"), ("'demoo'", "did you mean 'demo'?")),
    Case(
        "several mistakes at once",
        ("run", "{folder}/recipe.yaml", "data.kcore=3", "sid.lvels=2", "eval.beam=1"),
        ("3 mistakes", "data.kcore", "sid.lvels", "eval.beam"),
    ),
]  # fmt: skip

OVERRIDES = [
    override("no equals sign", "sid.levels", says=("'sid.levels'", "section.key=value")),
    override("no key", "=3", says=("'=3'", "section.key=value")),
    override("an empty part of a key", "sid..levels=3", says=("sid..levels", "section.key=value")),
    override("a value that is no YAML", "sid.levels=[3", says=("sid.levels=[3", "YAML")),
    override("a key that does not exist", "sid.depth=3", says=("sid.depth", "unknown key")),
    override("a section that does not exist", "training.x=3", says=("training: unknown key",)),
    override(
        "a key below a number",
        "seed.x=3", says=("seed: expected a valid integer, found {{'x': 3}}",),
    ),
    override("a section replaced", "sid=3", says=("sid: expected keys with values, found 3",)),
    override(
        "a text as a rate",
        "sft.trainer.learning_rate=fast", says=("expected float, found 'fast'",),
    ),
    override(
        "no epochs",
        "sft.trainer.num_train_epochs=0", says=("num_train_epochs: expected a number above",),
    ),
    override(
        "no batch",
        "sft.trainer.per_device_train_batch_size=0",
        says=("batch_size: expected a number above 0",),
    ),
    override(
        "half a batch",
        "sft.trainer.per_device_train_batch_size=.5", says=("expected int, found 0.5",),
    ),
    override(
        "another setting of TRL's",
        "sft.trainer.eval_strategy=never", says=("never is not a valid",),
    ),
    override("an unknown stage", "--until", "train", says=("'train'", "stages: ingest")),
    override("an unknown option", "--dry", says=("--dry",)),
    override(
        "an output_dir in a file",
        "output_dir={folder}/log.csv/run", says=("output_dir: expected",),
    ),
    override(
        "an output_dir that is a file",
        "output_dir={folder}/log.csv", says=("output_dir: expected a folder",),
    ),
    override(
        "a cache_dir that is a file",
        "cache_dir={folder}/log.csv", says=("cache_dir: expected a folder",),
    ),
    override(
        "targets that the template does not allow", "prompts.template=alpaca",
        "sft.targets=all", says=("targets: all",),
    ),
    Case(
        "a model of somebody's own in the way", ("run", "{folder}/recipe.yaml"),
        ("run/model", "not made by recllm"), {"run/model/mine.txt": "mine"},
    ),
    Case(
        "a template that is no YAML",
        ("prep", "{folder}/recipe.yaml", "prompts.template={folder}/t.yaml"),
        ("t.yaml", "cannot be read"), {"t.yaml": "prompt: {"},
    ),
    Case(
        "a base model that cannot be loaded",
        ("prep", "{folder}/recipe.yaml", "model.name={folder}/base"),
        ("model.name: the tokenizer of", "{folder}/base"), {"base/config.json": "{"},
    ),
    Case(
        "a base model without a model",
        ("prep", "{folder}/recipe.yaml", "model.name={folder}/base"),
        ("model.name: expected a folder with a model, found neither config.json",),
        {"base/notes.txt": "no model"},
    ),
]  # fmt: skip

LOGS = [
    log("a log that is nowhere", "no.csv", None, "no.csv", "no such file"),
    log("an empty file", "bad.csv", "", "bad.csv", "empty"),
    log("only a header", "bad.csv", HEADER, "bad.csv", "no interactions"),
    log("an empty JSON file", "bad.jsonl", "\n", "bad.jsonl", "no rows"),
    log("a column that is missing", "bad.csv", LOG.replace("item_id", "thing"), "'item_id'"),
    log("a column that stands twice", "bad.csv", LOG.replace("item_id", "user_id"), "twice"),
    log("no header", "bad.csv", LOG.removeprefix(HEADER), "bad.csv", "'user_id'"),
    log("a row too short", "bad.csv", replaced(5, "u1"), "bad.csv", "line 6", "number of columns"),
    log("a row too long", "bad.csv", replaced(5, "u1,i1,7,8,9"), "bad.csv", "line 6"),
    log("an open quote", "bad.csv", replaced(5, '"u1,i1,7'), "line 6", "quote"),
    log("no user", "bad.csv", replaced(5, ",i1,7"), "'user_id'", "line 6"),
    log("no item", "bad.csv", replaced(5, "u1,,7"), "'item_id'", "line 6"),
    log("no time", "bad.csv", replaced(5, "u1,i1,"), "'timestamp'", "line 6"),
    log("a time that is none", "bad.csv", replaced(5, "u1,i1,soon"), "'timestamp'", "line 6"),
    log("a time NaN", "bad.csv", replaced(5, "u1,i1,NaN"), "'timestamp'", "line 6"),
    log("an endless time", "bad.csv", replaced(5, "u1,i1,inf"), "'timestamp'", "line 6"),
    log("a day that does not exist", "bad.csv", replaced(5, "u1,i1,2024-02-30"), "line 6"),
    log("a number too long", "bad.csv", replaced(5, "u1,i1," + 30 * "9"), "'timestamp'", "line 6"),
    log("not UTF-8", "bad.csv", LOG.replace("u1", "ü").encode("latin-1"), "bad.csv", "UTF-8"),
    log("UTF-16", "bad.csv", LOG.encode("utf-16"), "bad.csv", "UTF-8"),
    log("a negative time", "bad.csv", replaced(5, "u1,i1,-7"), "negative time", "line 6"),
    log("a stray quote", "bad.csv", replaced(5, 'u1,"i"1,7'), "stray quotes", "line 6"),
    log("a gzip cut off", "bad.csv.gz", cut(LOG), "bad.csv.gz"),
    log("JSON in a gzip cut off", "bad.jsonl.gz", cut(JSON_LOG), "bad.jsonl.gz"),
    log("a gzip cut off near its end", "bad.jsonl.gz", cut(JSON_LOG, 0.98), "bad.jsonl.gz"),
    log("an empty gzip", "bad.csv.gz", gzip.compress(b""), "bad.csv.gz", "no rows"),
    log("an empty JSON log", "bad.jsonl", "", "bad.jsonl", "the file is empty"),
    log("JSON that is not UTF-8", "bad.jsonl", LATIN_1_JSON_LOG, "not UTF-8"),
    log("JSON that is no object", "bad.jsonl", JSON_LOG + "[1]\n", "no JSON object", "line 65"),
    log("a gzip that is none", "bad.csv.gz", LOG, "bad.csv.gz"),
    log("JSON cut in half", "bad.jsonl", JSON_LOG[:-20], "not JSON", "line 64"),
    log("JSON without a column", "bad.jsonl", JSON_LOG.replace("item_id", "x"), "'item_id'"),
    log("JSON of numbers", "bad.jsonl", "1\n2\n", "bad.jsonl", "JSON objects"),
    log("JSON rows that lack a key", "bad.jsonl", JSON_LOG + '{"user_id": "u"}\n', "line 65"),
    log("Parquet that is none", "bad.parquet", LOG, "bad.parquet"),
    log("a kind that is unknown", "bad.xlsx", LOG, "bad.xlsx", ".csv"),
    log("a folder without a log", "folder", {"readme.txt": "x"}, "interactions.*", "readme.txt"),
    log("an empty folder", "folder", {}, "interactions.*", "nothing"),
    log("two logs", "folder", {"interactions.csv": LOG, "interactions.jsonl": "{}"}, "keep one"),
    log("one interaction", "bad.csv", HEADER + "u,i,1\n", "k-core 5 removes all"),
    Case(
        "a rating that is no number", ("prep", "{folder}/recipe.yaml"), ("'rating'", "line 3"),
        {"log.csv": "user_id,item_id,timestamp,rating\nu1,i1,1,5\nu1,i2,2,good\n"},
    ),
    Case(
        "a least rating without ratings",
        ("prep", "{folder}/recipe.yaml", "data.min_rating=3"), ("no ratings", "data.min_rating"),
    ),
    Case(
        "a k-core that leaves nothing",
        ("prep", "{folder}/recipe.yaml", "data.k_core=50"), ("k-core 50 removes all of the 64",),
    ),
    Case(
        "a split that leaves nothing",
        ("prep", "{folder}/recipe.yaml", "data.k_core=0"), ("split", "without rows"),
        {"log.csv": HEADER + "u1,i1,1\nu2,i2,2\n"},
    ),
    Case(
        "more items than SIDs",
        ("prep", "{folder}/recipe.yaml", "sid.levels=1", "sid.codes=4",
         "sid.health.max_collision_rate=1"), ("4 SIDs", "8 items"),
    ),
    Case(
        "categories to go by, where there are none",
        ("prep", "{folder}/recipe.yaml", "sid.quantizer=semantic"),
        ("none of 8 items has any", "column `categories`"),
    ),
    Case(
        "SIDs to import, where there are none",
        ("prep", "{folder}/recipe.yaml", "sid.quantizer=import"),
        ("the log brought no SIDs", "sid.path"),
    ),
    override(
        "an index that is nowhere", "sid.quantizer=import", "sid.path=no.index.json",
        says=("no.index.json: no such file",),
    ),
    override(
        "items of different lengths, trained without an end",
        "sid.quantizer=title", "sft.targets=all", "eval.scoring=level",
        says=("sft.targets: all", "(set last)", "eval.scoring: level"),
    ),
    Case(
        "a column named that is not there",
        ("prep", "{folder}/recipe.yaml", "data.columns={{user: person}}"), ("'person'",),
    ),
    Case(
        "a split that the log lacks",
        ("prep", "{folder}/recipe.yaml", "data.split=given"),
        ("data.split is given", "has no column"),
    ),
    Case(
        "chains in one file",
        ("prep", "{folder}/recipe.yaml", "data.source=chains", "data.path={folder}/log.csv"),
        ("log.csv", "expected a folder"),
    ),
    Case(
        "a movielens folder without ratings",
        ("prep", "{folder}/recipe.yaml", "data.source=movielens", "data.path={folder}"),
        ("expected a file ratings.*",),
    ),
    items("an items file that is nowhere", "no.csv", None, "no such file"),
    items("an items file that is empty", "items.csv", "", "empty"),
    items("no item column", "items.csv", "id,title\na,b\n", "'item_id'"),
    items("an item twice", "items.csv", ITEMS + "i1,Again\n", "more than once", "'i1'"),
    items("an item without id", "items.csv", ITEMS + ",Nothing\n", "'item_id'", "line 10"),
    items("an items file cut off", "items.csv.gz", cut(ITEMS), "items.csv.gz"),
    items("an items file with a short line", "items.csv", ITEMS + "i9\n", "line 10"),
    override("a share above 1", "data.max_reject_rate=2", says=("max_reject_rate", "equal to 1")),
    override("an unknown policy", "data.missing_items=ask", says=("data.missing_items", "'ask'")),
    Case(
        "no item of the log is known",
        ("prep", "{folder}/recipe.yaml", "data.items={folder}/items.csv",
         "data.missing_items=drop"),
        ("every item of the log",), {"items.csv": "item_id\nI1\n"},
    ),
    Case(
        "more bad lines than allowed",
        ("prep", "{folder}/recipe.yaml", "data.max_reject_rate=0.03"),
        ("3 rows, first in line 2", "data.max_reject_rate allows (0.03)"),
        {"log.csv": HEADER + 3 * "u\n" + LOG.removeprefix(HEADER)},
    ),
    items("an items file that is a folder", "items.csv", {}, "expected a file"),
]  # fmt: skip

COMMANDS = [
    Case("an unknown command", ("rnu", "demo"), ("'rnu'",)),
    Case("no recipe", ("run",), ("Missing argument 'RECIPE'",)),
    Case("no history", ("recommend", "{folder}"), ("Missing option '--history'",)),
    Case(
        "an empty history",
        ("recommend", "{folder}", "--history", " , "), ("--history: expected at", "none"),
    ),
    Case("no items asked for", ("recommend", "x", "--history", "a", "-k", "0"), ("-k", "x>=1")),
    Case("a text for -k", ("recommend", "x", "--history", "a", "-k", "ten"), ("-k", "'ten'")),
    Case(
        "a run that is nowhere", ("recommend", "{folder}/no", "--history", "a"), ("/no: expected",),
    ),
    Case(
        "a run that is a file",
        ("recommend", "{folder}/log.csv", "--history", "a"), ("csv: expected",),
    ),
    Case("a folder that is no run", ("recommend", "{folder}", "--history", "a"), ("recllm.json",)),
    Case("a recipe misspelt in cp", ("recipes", "cp", "dmo"), ("'dmo'", "'demo'")),
    Case(
        "a file in the way of cp",
        ("recipes", "cp", "demo", "{folder}/log.csv"), ("log.csv exists",),
    ),
    Case("no folder for cp", ("recipes", "cp", "demo", "{folder}/no/x.yaml"), ("{folder}/no",)),
    Case(
        "a description that is no JSON", ("recommend", "{folder}/m", "--history", "a"),
        ("{folder}/m", "cannot be read"), {"m/recllm.json": "{"},
    ),
    Case(
        "a checkpoint of another format", ("recommend", "{folder}/m", "--history", "a"),
        ("{folder}/m", "format is 7"), {"m/recllm.json": '{"format": 7}'},
    ),
    Case(
        "a checkpoint that is nowhere", ("eval", "{folder}/recipe.yaml", "--checkpoint", "no/such"),
        ("--checkpoint no/such",),
    ),
    Case(
        "a checkpoint that is none",
        ("eval", "{folder}/recipe.yaml", "--checkpoint", "{folder}/base"),
        ("/base: expected a checkpoint, found no recllm.json",), {"base/notes.txt": "none"},
    ),
    Case(
        "a plain checkpoint without a model",
        ("eval", "{folder}/recipe.yaml", "--checkpoint", "{folder}/base"),
        ("/base: the checkpoint lacks model.safetensors, tokenizer.json",),
        {"base/config.json": "{}"},
    ),
    Case(
        "wildcards that match no checkpoint",
        ("eval", "{folder}/recipe.yaml", "--checkpoint", "{folder}/*"),
        ("/*: expected at least one checkpoint, found none among the",), {"x/notes.txt": "none"},
    ),
    Case("an unknown config command", ("config", "print", "demo"), ("'print'",)),
    Case(
        "a recipe wrong in config show", ("config", "show", "demo", "sid.x=1"), ("sid.x: unknown",),
    ),
    Case(
        "a trainer value wrong in config validate",
        ("config", "validate", "demo", "sft.trainer.learning_rate=fast", "sft.trainer.bf16=3"),
        ("2 mistakes", "learning_rate: expected float, found 'fast'",
         "bf16: expected bool, found 3"),
    ),
]  # fmt: skip

CASES = [*RECIPES, *OVERRIDES, *LOGS, *COMMANDS]


def write(folder: Path, files: dict[str, str | bytes | dict | None]) -> None:
    for name, content in files.items():
        path = folder / name
        if content is None:
            continue
        if isinstance(content, dict):
            path.mkdir(parents=True, exist_ok=True)
            write(path, content)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def call(folder: Path, case: Case) -> Outcome:
    files = {"recipe.yaml": RECIPE.format(folder=folder), "log.csv": LOG}
    write(folder, files | case.files)
    return recllm(*(argument.format(folder=folder) for argument in case.arguments))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_message_that_names_it(case: Case, tmp_path: Path) -> None:
    outcome = call(tmp_path, case)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    for part in case.says:
        assert part.format(folder=tmp_path) in outcome.err, outcome.err
    lines = [line for line in outcome.err.splitlines() if not line.endswith(" …")]
    assert lines[0].startswith(("recllm: ", "Usage: ")), outcome.err
    assert len(lines) == 1 or "mistake" in lines[0] or lines[-1].startswith("Error: "), outcome.err
    for manifest in (tmp_path / "cache").glob("*/*/manifest.json"):
        assert Manifest.read(manifest.parent) is not None
    assert not list((tmp_path / "cache").glob("*/*.partial"))
    assert not (tmp_path / "run" / "model" / "recllm.json").exists()


@pytest.mark.parametrize("name", ["a misspelt key", "a gzip cut off", "an unknown command"])
def test_a_mistake_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    expected = call(tmp_path, case)
    ended = Started([part.format(folder=tmp_path) for part in case.arguments]).wait()
    assert (ended.code, ended.err) == (2, expected.err)
