"""Spark, for logs that outgrow one machine: on this machine's cores, or on a cluster.

What is kept for the session lies as Parquet in a database of its own, in a fresh folder of
`spark.sql.warehouse.dir`. On a cluster this must be a folder that the driver and all workers see,
and so must be the files of the log; by default it is the system's folder for temporary files.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlparse

from recllm.config.schema import SparkSection
from recllm.data_prep.engines import Column, Connection, Engine, Table, new_name
from recllm.data_prep.engines._parts import join_parts
from recllm.data_prep.engines.java import require_spark
from recllm.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: What the results rest on, in every session.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # what overflows is an error, as in DuckDB
    "spark.sql.json.enableExactStringParsing": "false",  # nested values are told as in DuckDB
    "spark.sql.legacy.parquet.nanosAsLong": "true",  # else nanoseconds cannot be read at all
}
#: What a recipe may set otherwise.
DEFAULTS = {
    "spark.app.name": "recllm",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
WAREHOUSE = "spark.sql.warehouse.dir"
#: Before a session's own log level is known, Spark would say a good deal.
LOGGING = "rootLogger.level = error\n"
#: Columns that say where a row stands: the stretch of rows, and an increasing number in it.
STRETCH, PLACE = "recllm_stretch", "recllm_place"


class Spark(Engine):
    """A session of its own in the Spark that runs in this process, or in one that is started."""

    backend: ClassVar[str] = "pyspark"

    @contextmanager
    def session(self, settings: SparkSection | None) -> Iterator[Connection]:
        """See `Engine.session`; a Spark that is started for it is stopped at its end.

        One that runs in this process already is used as it is, whatever its master.

        Raises:
            UserError: PySpark or Java is missing, or the master cannot be reached.
        """
        require_spark()
        settings = settings or SparkSection()
        with _own_folder(settings) as place, warnings.catch_warnings():
            # of pandas, which is not used but for small tables of tests
            warnings.filterwarnings("ignore", "PySpark does not yet", FutureWarning)
            import ibis
            from pyspark.sql import SparkSession

            running = SparkSession.getActiveSession()
            spark = running.newSession() if running else _start(settings, place)
            try:
                for name, value in (_as_text(settings.options) | SETTINGS).items():
                    if spark.conf.isModifiable(name):  # the others are of the start
                        spark.conf.set(name, value)
                con = ibis.pyspark.connect(spark)
                with _database(con, place):
                    yield con
            finally:
                if running is None:
                    spark.stop()

    def materialise(self, con: Connection, table: Table) -> Table:
        """As a table of Parquet files: what comes after it is planned anew, from these."""
        return con.create_table(new_name("table"), table)

    def read(self, con: Connection, path: Path, place: str | None) -> Table:
        """See `tables.read`."""
        import pyspark.sql.functions as F

        rows = spark_of(con).read.parquet(str(link(con, path)))
        if place:
            rows = rows.select("*", F.col("_metadata.row_index").alias(place))
        view = new_name("view")
        rows.createOrReplaceTempView(view)
        return con.table(view)

    def size(self, con: Connection, table: Table) -> int:
        """See `tables.size`."""
        return con.raw_sql(f"SELECT count(*) FROM {table.get_name()}").collect()[0][0]

    def write(self, con: Connection, table: Table, path: Path, in_order: bool) -> None:
        """Every task writes a stretch of the order to a file; these are joined to one."""
        del in_order  # rows come from many tasks
        parts = folder(con) / new_name("parts")
        try:
            con.to_parquet(table, parts)
            join_parts(parts, path, table.schema().to_pyarrow())
        finally:
            shutil.rmtree(parts, ignore_errors=True)

    def collect(self, table: Table) -> list[dict[str, Any]]:
        """See `tables.collect`."""
        return [row.asDict() for row in frame(table.get_backend(), table).collect()]

    def number(self, con: Connection, table: Table, name: str, order_by: Sequence[str]) -> Table:
        """Sorted in ranges, one a task; a range begins where the ones before it end."""
        import pyspark.sql.functions as F

        rows = frame(con, table.order_by(*order_by) if order_by else table)
        marked = rows.select(
            "*",
            F.spark_partition_id().cast("long").alias(STRETCH),
            F.monotonically_increasing_id().alias(PLACE),
        )
        return number_stretches(con, marked, name)

    def is_json(self, text: Column) -> Column:
        """See `values.is_json`."""
        import ibis

        @ibis.udf.scalar.builtin
        def try_parse_json(value: str) -> str: ...

        return try_parse_json(text).notnull()

    def parse_list(self, text: Column) -> Column:
        """See `values.parse_list`."""
        import ibis

        @ibis.udf.scalar.builtin
        def from_json(value: str, structure: str) -> list[str]: ...

        return from_json(text, "array<string>")

    def microseconds(self, time: Column) -> Column:
        """See `Engine.microseconds`."""
        import ibis
        import ibis.expr.datatypes as dt

        @ibis.udf.scalar.builtin(signature=((dt.Timestamp(timezone="UTC"),), dt.int64))
        def unix_micros(value): ...

        return unix_micros(time)


def frame(con: Connection, table: Table) -> "DataFrame":
    """An Ibis table as a data frame of Spark."""
    return con.raw_sql(con.compile(table))


def spark_of(con: Connection) -> "SparkSession":
    """The Spark session under an Ibis one."""
    return con.raw_sql("SELECT 1").sparkSession


def folder(con: Connection) -> Path:
    """The session's own folder, which the workers see too."""
    place = spark_of(con).catalog.getDatabase(con.current_database).locationUri
    return Path(unquote(urlparse(place).path))


def link(con: Connection, path: Path) -> Path:
    """A file under a name that Spark does not misread.

    It takes brackets for patterns, a name with an underscore in front for no data, and a colon
    for the end of a scheme.
    """
    endings = "".join(path.suffixes[-2:]).lower()
    safe = folder(con) / (new_name("file") + endings.replace(":", ""))
    safe.symlink_to(path.absolute())
    return safe


def number_stretches(con: Connection, rows: "DataFrame", name: str) -> Table:
    """Keep rows and number them, from 0 without gaps, by STRETCH and within it by PLACE.

    Args:
        rows: with STRETCH and PLACE (int64), which counts without gaps in a stretch. They are
            taken out.
        name: the new column.
    """
    import pyspark.sql.functions as F

    kept = new_name("table")
    rows.write.saveAsTable(kept, format="parquet")
    table = rows.sparkSession.table(kept)
    found = table.groupBy(STRETCH).agg(F.min(PLACE).alias("first"), F.count("*").alias("rows"))
    shifts, before = [], 0
    for stretch in found.orderBy(STRETCH).collect():
        shifts.append(f"({stretch[STRETCH]}L, {before - stretch['first']}L)")
        before += stretch["rows"]
    values = ", ".join(shifts) or "(0L, 0L)"
    shift = rows.sparkSession.sql(f"SELECT * FROM VALUES {values} AS shifts({STRETCH}, shift)")
    placed = table.join(F.broadcast(shift), STRETCH).withColumn(name, F.col(PLACE) + F.col("shift"))
    view = new_name("view")
    placed.drop(STRETCH, PLACE, "shift").createOrReplaceTempView(view)
    return con.table(view)


def _as_text(options: Mapping[str, str | int | float | bool]) -> dict[str, str]:
    """Options as Spark writes them: `true`, not `True`."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
    }


def _start(settings: SparkSection, place: Path) -> "SparkSession":
    from pyspark.sql import SparkSession

    quiet = place / "log4j2.properties"
    quiet.write_text(LOGGING)
    options = {
        **DEFAULTS,
        WAREHOUSE: str(place / "warehouse"),
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={quiet}",
        **_as_text(settings.options),
    }
    if settings.master.startswith("local"):  # no name of this machine needs to be known
        options = {"spark.driver.host": "127.0.0.1"} | options
    builder = SparkSession.builder.master(settings.master)
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:  # of the JVM, the network, the cluster
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"Spark cannot be started on data.spark.master {settings.master!r}: {reason}"
        ) from None


@contextmanager
def _own_folder(settings: SparkSection) -> Iterator[Path]:
    """A fresh folder in the warehouse that the recipe names, or where temporary files are."""
    asked = settings.options.get(WAREHOUSE)
    shared = None if asked is None else Path(str(asked))
    if shared:
        shared.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="recllm-spark-", dir=shared, ignore_cleanup_errors=True
    ) as place:
        yield Path(place).absolute()


@contextmanager
def _database(con: Connection, place: Path) -> Iterator[None]:
    """Where the session's tables are: a database in its own folder, gone at the end."""
    name, before = new_name("database"), con.current_database
    con.create_database(name, path=place / name)
    con.raw_sql(f"USE {name}")
    try:
        yield
    finally:
        con.raw_sql(f"USE {before}")
        con.raw_sql(f"DROP DATABASE {name} CASCADE")
