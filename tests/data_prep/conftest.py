"""Runs the stages from the log to the splits, and writes small logs."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from encoder_inputs import write_sentence_model
from hypothesis import HealthCheck, Phase, settings

from recllm.artifacts.cache import Artifact, Cache
from recllm.config.schema import DataSection, Recipe
from recllm.config.validation import validate
from recllm.data_prep.engines.java import why_no_spark
from recllm.data_prep.filter import Filter
from recllm.data_prep.ingest import Ingest
from recllm.data_prep.sources import Source
from recllm.data_prep.split import SplitStage
from recllm.data_prep.splits import Split
from recllm.data_prep.tables import Connection, session

STAGES = (Ingest, Filter, SplitStage)
#: For the naive versions on Spark, where one example takes seconds.
FEW = settings(
    max_examples=3,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True)
class Prepared:
    """What the stages wrote and counted, by stage name."""

    folders: Mapping[str, Path]
    counts: Mapping[str, Mapping[str, int]]

    def rows(self, stage: str, table: str) -> list[dict[str, Any]]:
        return pq.read_table(self.folders[stage] / f"{table}.parquet").to_pylist()

    def filtered(self) -> list[dict[str, Any]]:
        """The filtered interactions with user ids, in the order of the log."""
        owners = {r["sequence"]: r["user_id"] for r in self.rows("filter", "owners")}
        log = [
            {"row": r["row"], "user_id": owners[r["sequence"]]} | r
            for r in self.rows("filter", "interactions")
        ]
        return sorted(log, key=lambda r: r["row"])

    def histories(self, split: str) -> list[tuple[str, list[str], str]]:
        """User, history and target of each row of a split, as the user's ids."""
        ids = {r["item"]: r["item_id"] for r in self.rows("filter", "items")}
        sequences = self.rows("split", "sequences")
        return [
            (
                r["user_id"],
                [ids[i] for i in sequences[r["sequence"]]["items"][r["start"] : r["end"]]],
                ids[r["target"]],
            )
            for r in self.rows("split", split)
        ]


def make_recipe(**data: Any) -> Recipe:
    return validate({"output_dir": "unused", "model": {"name": "unused"}, "data": data})


def on_spark(**options: Any) -> DataSection:
    """A data section whose engine is Spark, with options beside those for small tables."""
    few = {"spark.sql.shuffle.partitions": 3}
    return make_recipe(engine="spark", spark={"options": few | options}).data


def run_source(source: Source, out: Path, data: DataSection | None = None) -> dict[str, int]:
    """Runs a source in a session of its own; `data` names the engine."""
    with session(data) as con:
        return source.ingest(con, out)


def run_split(split: Split, folder: Path, data: DataSection | None = None) -> dict[str, int]:
    """Runs a split on the filtered log in a folder and writes into it."""
    with session(data) as con:
        return split.divide(con, folder, folder)


@pytest.fixture(scope="session")
def con() -> Iterator[Connection]:
    """The session that splits and filters are tried in."""
    with session() as opened:
        yield opened


@pytest.fixture(scope="session")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Prepared]:
    """Runs ingest, filter and split (or fewer: `until`) under the given data section."""

    def run(until: str = "split", /, **data: Any) -> Prepared:
        recipe = make_recipe(**data)
        cache = Cache(tmp_path_factory.mktemp("stages"))
        artifacts: dict[str, Artifact] = {}
        for stage_type in STAGES:
            parents = {name: artifacts[name] for name in stage_type.parents}
            artifacts[stage_type.name] = cache.build(stage_type(recipe), parents)
            if stage_type.name == until:
                break
        return Prepared(
            {name: artifact.path for name, artifact in artifacts.items()},
            {name: artifact.manifest.counts for name, artifact in artifacts.items()},
        )

    return run


@pytest.fixture(scope="session")
def spark() -> Iterator[DataSection]:
    """A data section whose engine is Spark; one Spark runs for all tests, as its start is slow."""
    missing = why_no_spark()
    if missing:
        pytest.skip(missing)
    from pyspark.sql import SparkSession

    options = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[2]")
    with tempfile.TemporaryDirectory() as folder:
        for name, value in (options | {"spark.sql.warehouse.dir": folder}).items():
            builder = builder.config(name, value)
        running = builder.getOrCreate()
        yield on_spark()
        running.stop()


@pytest.fixture(scope="session", params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest) -> DataSection:
    """A data section for each engine."""
    if request.param == "spark":
        return request.getfixturevalue("spark")
    return make_recipe().data


def engine_keys(data: DataSection) -> dict[str, Any]:
    """The keys of a recipe that name an engine."""
    return data.model_dump(include={"engine", "spark"})


@pytest.fixture(scope="session")
def beauty(real_data: Path, prepare: Callable[..., Prepared]) -> Prepared:
    """Amazon Beauty under the defaults: 5-core, leave-one-out."""
    return prepare(source="files", path=str(real_data / "amazon14-beauty"))


@pytest.fixture(scope="session")
def movielens(real_data: Path, prepare: Callable[..., Prepared]) -> Prepared:
    """MovieLens small, unfiltered, leave-one-out."""
    path = str(real_data / "movielens-latest-small")
    return prepare(source="movielens", path=path, k_core=0)


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a text file into the test's folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny sentence-transformers model with two prompts."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return str(write_sentence_model(folder, prompts={"query": "red", "document": "blue brush"}))


@pytest.fixture
def encoded_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that any sentence-transformers model is run on, one after the other."""
    from sentence_transformers import SentenceTransformer

    texts: list[str] = []
    real = SentenceTransformer.encode

    def watch(self: Any, inputs: list[str], *args: Any, **kwargs: Any) -> Any:
        texts.extend(inputs)
        return real(self, inputs, *args, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "encode", watch)
    return texts
