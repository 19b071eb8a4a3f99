"""What the ingest stage says of a log beside its tables."""

from pathlib import Path

from recllm.artifacts.manifest import Manifest


def is_order_only(ingested: Path) -> bool:
    """Whether the log that the ingest stage read has positions in place of times."""
    manifest = Manifest.read(ingested)
    return manifest is not None and bool(manifest.counts.get("order_only"))
