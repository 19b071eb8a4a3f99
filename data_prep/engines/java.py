"""Whether Spark can run here: it needs PySpark and a Java to run in."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from recllm.errors import UserError

#: Spark 4 does not start on an older one.
LEAST_JAVA = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)[^"]*"')


def find_java() -> Path | None:
    """The Java that Spark would run in: that of JAVA_HOME, or the first on the PATH."""
    home = os.environ.get("JAVA_HOME")
    found = Path(home) / "bin" / "java" if home else shutil.which("java")
    return Path(found) if found and Path(found).is_file() else None


def java_version(java: Path | None) -> int | None:
    """The major version of a Java; None where there is none, or it does not say."""
    if java is None:
        return None
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return None
    found = _VERSION.search(done.stderr + done.stdout)
    return int(found[1]) if found else None


def why_no_spark() -> str | None:
    """What is missing for `data.engine: spark` and what to do; None where nothing is."""
    if importlib.util.find_spec("pyspark") is None:
        return "PySpark is not installed: pip install 'recllm[spark]'"
    java = find_java()
    if java is None:
        return (
            f"no Java was found: install {LEAST_JAVA} or newer (on Debian: "
            "apt install openjdk-17-jre-headless), or set JAVA_HOME"
        )
    version = java_version(java)
    if version is None or version < LEAST_JAVA:
        found = f"{version or 'none'} ({java})"
        return f"expected Java {LEAST_JAVA} or newer, found {found}; set JAVA_HOME"
    return None


def require_spark() -> None:
    """Refuse to go on without PySpark and Java.

    Raises:
        UserError: one of them is missing.
    """
    reason = why_no_spark()
    if reason:
        raise UserError(f"data.engine is spark, but {reason}; or set data.engine to duckdb")
