"""Runs the stages from the log to the splits, and writes small logs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recllm.artifacts.cache import Artifact, Cache
from recllm.config.schema import Recipe
from recllm.config.validation import validate
from recllm.data_prep.filter import Filter
from recllm.data_prep.ingest import Ingest
from recllm.data_prep.sources import Source
from recllm.data_prep.split import SplitStage
from recllm.data_prep.tables import Connection, session

STAGES = (Ingest, Filter, SplitStage)


@dataclass(frozen=True)
class Prepared:
    """What the stages wrote and counted, by stage name."""

    folders: Mapping[str, Path]
    counts: Mapping[str, Mapping[str, int]]

    def rows(self, stage: str, table: str) -> list[dict[str, Any]]:
        return pq.read_table(self.folders[stage] / f"{table}.parquet").to_pylist()


def make_recipe(**data: Any) -> Recipe:
    return validate({"output_dir": "unused", "model": {"name": "unused"}, "data": data})


def run_source(source: Source, out: Path) -> dict[str, int]:
    """Runs a source in a session of its own."""
    with session() as con:
        return source.ingest(con, out)


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
