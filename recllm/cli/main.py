"""`recllm`: the command line. Exit codes: 0 done, 2 the user's mistake, 1 anything else."""

import logging
import os
import sys

import click

import recllm
from recllm.cli.commands import (
    config,
    data,
    doctor,
    export,
    merge,
    recipes,
    recommend,
    sid,
    stages,
)
from recllm.cli.interruption import leave, watching
from recllm.errors import Interrupted, StorageError, UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(recllm.__version__, prog_name="recllm")
@click.option("--verbose", is_flag=True, help="Say more of what is going on.")
def cli(verbose: bool) -> None:
    """Make an open LLM a recommender: from an interaction log to a scored model."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("recllm").setLevel(logging.INFO)
    _quieten_libraries()


data.data.add_command(export.export)
for command in (
    stages.run,
    stages.prep,
    stages.sft,
    stages.evaluate,
    stages.report,
    recommend.recommend,
    merge.merge,
    recipes.recipes,
    config.config,
    data.data,
    sid.sid,
    doctor.doctor,
):
    cli.add_command(command)


def main() -> None:
    """The entry point `recllm`."""
    with watching():
        code = _run()
        if code:
            leave(code)


def _run() -> int:
    """Run the command and say what went wrong; the exit code."""
    try:
        cli(prog_name="recllm", standalone_mode=False)
    except UserError as error:
        return _complain(str(error), 2)
    except click.ClickException as error:
        error.show()
        return 2
    except (Interrupted, StorageError) as error:
        return _complain(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted; nothing was being built", 1)
    except BrokenPipeError:  # the reader of our output went away: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno is None:
            raise
        name = f": {error.filename}" if error.filename else ""
        return _complain(f"{error.strerror}{name} (finished stages are kept)", 1)
    return 0


def _complain(message: str, code: int) -> int:
    click.echo(f"recllm: {message}", err=True)
    return code


def _quieten_libraries() -> None:
    """Bars and notices of the libraries below are noise beside ours; nor do they phone home."""
    for name in ("TOKENIZERS_PARALLELISM", "TRL_EXPERIMENTAL_SILENCE"):
        os.environ.setdefault(name, "false" if name.startswith("TOK") else "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DATASETS_VERBOSITY", "critical")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
