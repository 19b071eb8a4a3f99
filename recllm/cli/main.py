"""`recllm`: the command line. Exit codes: 0 done, 2 the user's mistake, 1 anything else."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

import recllm
from recllm.cli.commands import (
    config,
    data,
    doctor,
    export,
    merge,
    pull,
    push,
    recipes,
    recommend,
    score,
    sid,
    stages,
)
from recllm.cli.interruption import leave, watching
from recllm.errors import Interrupted, NetworkError, StorageError, UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(recllm.__version__, prog_name="recllm")
@click.option("--verbose", is_flag=True, help="Say more of what is going on.")
def cli(verbose: bool) -> None:
    """Make an open LLM a recommender: from an interaction log to a scored model."""
    set_up_logging(verbose)


def set_up_logging(verbose: bool) -> None:
    """Write what happens to stderr, and keep the libraries below quiet."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("recllm").setLevel(logging.INFO)
    _quieten_libraries()


data.data.add_command(export.export)
for command in (
    stages.run,
    stages.prep,
    stages.sft,
    stages.rl,
    stages.evaluate,
    stages.report,
    recommend.recommend,
    merge.merge,
    pull.pull,
    push.push,
    recipes.recipes,
    config.config,
    data.data,
    sid.sid,
    score.score,
    doctor.doctor,
):
    cli.add_command(command)


def main() -> None:
    """The entry point `recllm`."""
    with watching():
        code = run_to_end(lambda: cli(prog_name="recllm", standalone_mode=False))
        if code:
            leave(code)


def complain(message: str, code: int) -> int:
    """Say why the program ends; the exit code."""
    click.echo(f"recllm: {message}", err=True)
    return code


def run_to_end(command: Callable[[], Any], say: Callable[[str, int], int] = complain) -> int:
    """Run a command and say what went wrong; the exit code.

    Args:
        command: may return an exit code of its own.
        say: is given a message and an exit code, and returns that.
    """
    try:
        ended = command()
    except UserError as error:
        return say(str(error), 2)
    except click.ClickException as error:
        error.show()
        return 2
    except (Interrupted, NetworkError, StorageError) as error:
        return say(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return say("interrupted; nothing was being built", 1)
    except BrokenPipeError:  # the reader of our output went away: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno is None:
            raise
        name = f": {error.filename}" if error.filename else ""
        return say(f"{error.strerror}{name} (finished stages are kept)", 1)
    return ended if isinstance(ended, int) else 0


def _quieten_libraries() -> None:
    """Bars and notices of the libraries below are noise beside ours; nor do they phone home."""
    for name in ("TOKENIZERS_PARALLELISM", "TRL_EXPERIMENTAL_SILENCE"):
        os.environ.setdefault(name, "false" if name.startswith("TOK") else "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DATASETS_VERBOSITY", "critical")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # TRL imports vLLM where it is installed, though it is not asked to use it.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
    # It tells of every attempt to reach the Hub, twice; what came of them is said in the end.
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)
    # It tells of a faster kernel that could be downloaded, also where nothing is quantised.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # DeepSpeed speaks on stdout, also where it is only installed; it sets the level itself.
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
