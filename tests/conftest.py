"""What all tests share: real data, a skip that CI does not accept, quiet libraries."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# No test is timed: a machine may be slow or busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

#: Skips that CI accepts: what its machine cannot have.
ACCEPTED_SKIPS = ("needs a GPU", "cannot mount a small disk")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets that RECLLM_DATA names."""
    folder = os.environ.get("RECLLM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RECLLM_DATA is not set")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where RECLLM_NO_SKIP is set, a test that skips has failed, but for what cannot be had."""
    report = yield
    if report.skipped and os.environ.get("RECLLM_NO_SKIP") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        without_data = "RECLLM_DATA" in reason and not os.environ.get("RECLLM_DATA")
        if not without_data and not any(accepted in reason for accepted in ACCEPTED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} skipped, but must run here: {reason}"
    return report
