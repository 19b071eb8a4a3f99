"""The section `data.spark` of a recipe."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from recllm.config.section import Section

#: The forms of a Spark master's URL.
SPARK_MASTER = re.compile(
    r"^(local(\[(\d+|\*)(,\d+)?\])?|local-cluster\[\d+,\d+,\d+\]|yarn|(spark|k8s)://.+)$"
)
#: Options of Spark that recllm sets, as the tables rest on them.
OWNED_SPARK_OPTIONS = {
    "spark.master": "set data.spark.master",
    "spark.sql.session.timeZone": "times are read as UTC",
    "spark.sql.ansi.enabled": "a number that overflows is always an error",
    "spark.sql.json.enableExactStringParsing": "values in JSON are read as DuckDB does",
    "spark.sql.legacy.parquet.nanosAsLong": "nanoseconds in Parquet are always read",
}


class SparkSection(Section):
    """The Spark that prepares the data, where `data.engine` is `spark`."""

    master: str = Field(
        default="local[*]", description="local[*], local[4], spark://host:7077, yarn, k8s://…"
    )
    options: dict[str, str | int | float | bool] = Field(
        default={},
        description="Spark's own, such as spark.executor.memory; a cluster needs a "
        "spark.sql.warehouse.dir that all its machines see",
    )

    @field_validator("master")
    @classmethod
    def _is_a_master(cls, master: str) -> str:
        if not SPARK_MASTER.match(master):
            raise ValueError(
                f"expected a Spark master such as local[*], local[4], spark://host:7077, yarn "
                f"or k8s://…, found {master!r}"
            )
        return master

    @field_validator("options")
    @classmethod
    def _are_options_of_spark(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name, value in options.items():
            if not name.startswith("spark."):
                raise ValueError(f"expected names that begin with 'spark.', found {name!r}")
            if name in OWNED_SPARK_OPTIONS:
                raise ValueError(f"{name!r} cannot be set here: {OWNED_SPARK_OPTIONS[name]}")
            if name == "spark.sql.warehouse.dir" and not Path(str(value)).is_absolute():
                raise ValueError(
                    f"{name!r}: expected an absolute path of a folder that is mounted here and "
                    f"on all workers, found {value!r}"
                )
        return options
