"""Which engine: the one that a recipe names, or whose session it is."""

from recllm.data_prep.engines import Engine


def engine(name: str) -> Engine:
    """The engine with this name in recipes, or of this Ibis backend."""
    if name == "duckdb":
        from recllm.data_prep.engines.duckdb import DuckDB

        return DuckDB()
    from recllm.data_prep.engines.spark import Spark

    return Spark()
