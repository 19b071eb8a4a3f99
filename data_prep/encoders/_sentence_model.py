"""A loaded sentence-transformers model on one device or several, and what it cuts off."""

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.artifacts.storage import FULL
from recllm.config.registry import unknown_name
from recllm.data_prep.encoders._model_files import in_short
from recllm.errors import UserError

#: Batches that a process of a pool is given at once: it waits for the others after them.
BATCHES_A_TURN = 8


def require_package() -> None:
    """Refuse to go on without the package.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise UserError(
            "the encoder sentence-transformers needs the package of that name, which is not "
            "installed: pip install 'recllm[sentence-transformers]'"
        )


def resolve_devices(asked: Sequence[str] | None) -> tuple[str, ...]:
    """The devices to encode on: those asked for, or else every GPU, or the CPU.

    Raises:
        UserError: one of them is not there.
    """
    import torch

    gpus = torch.cuda.device_count()
    if asked is None:
        return tuple(f"cuda:{number}" for number in range(gpus)) or ("cpu",)
    for name in asked:
        try:
            device = torch.device(name)
        except RuntimeError:
            raise UserError(
                f"devices: expected names such as cuda:0 or cpu, found {name!r}"
            ) from None
        if device.type == "cuda" and (device.index or 0) >= gpus:
            raise UserError(f"devices: {name} is not there: this machine has {gpus} GPUs")
    return tuple(asked)


@dataclass(frozen=True)
class SentenceModel:
    """A model and what is put before each text; `name` is what messages call it."""

    name: str
    model: Any
    prompt: str

    @classmethod
    def load(
        cls, folder: Path, name: str, *, trust_remote_code: bool, dtype: str
    ) -> "SentenceModel":
        """Load the model in a folder, on the CPU, with the prompt that is its default, if any.

        Raises:
            UserError: it cannot be loaded.
        """
        import torch
        from sentence_transformers import SentenceTransformer

        try:
            with _bars_on_terminals_only():
                model = SentenceTransformer(
                    str(folder),
                    device="cpu",
                    trust_remote_code=trust_remote_code,
                    local_files_only=not trust_remote_code,  # code may lie elsewhere than weights
                    model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
                )
        except (OSError, ValueError, RuntimeError, ImportError, LookupError, TypeError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            raise UserError(
                f"{name}: the sentence-transformers model cannot be loaded: {in_short(error)}"
            ) from None
        default = model.default_prompt_name
        return cls(name, model, (model.prompts[default] if default else None) or "")

    def with_prompt(self, name: str | None, text: str | None) -> "SentenceModel":
        """The model with one of its own prompts, or any other, in place of its default.

        Raises:
            UserError: it has no prompt of that name.
        """
        if text is not None:
            return SentenceModel(self.name, self.model, text)
        if name is None:
            return self
        if name not in self.model.prompts:
            known = self.model.prompts
            raise UserError(f"{self.name}: prompt_name: {unknown_name('prompt', name, known)}")
        return SentenceModel(self.name, self.model, self.model.prompts[name])

    def are_cut(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each text is longer than what the model reads."""
        limit, tokenizer = self.model.max_seq_length, self.model.tokenizer
        if limit is None or not math.isfinite(limit) or not callable(tokenizer):
            return np.zeros(len(texts), dtype=bool)
        tokens: Any = tokenizer(
            [self.prompt + text for text in texts],
            truncation=False,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )
        return np.array([len(ids) > limit for ids in tokens["input_ids"]], dtype=bool)

    @contextmanager
    def running(
        self, devices: Sequence[str], batch_size: int
    ) -> Iterator[tuple[Callable[[list[str]], NDArray[np.float32]], int]]:
        """Yields a function from texts to vectors, and how many texts it is best given at once.

        On several devices, the library's pool of processes.

        Raises:
            UserError: a batch does not fit a GPU's memory.
        """
        import torch

        options = {"prompt": self.prompt, "batch_size": batch_size, "show_progress_bar": False}
        pool: Any = None
        turn = batch_size
        if len(devices) == 1:
            self.model.to(devices[0])
            options["device"] = devices[0]
        else:
            pool = self.model.start_multi_process_pool(list(devices))
            turn *= BATCHES_A_TURN
            options |= {"pool": pool, "chunk_size": turn}
            turn *= len(devices)

        def encode(texts: list[str]) -> NDArray[np.float32]:
            return np.asarray(self.model.encode(texts, **options), dtype=np.float32)

        try:
            yield encode, turn
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{self.name}: a batch of {batch_size} texts does not fit the memory of the GPU "
                f"({in_short(error)}); lower batch_size, or set dtype: bfloat16"
            ) from None
        finally:
            if pool is not None:
                self.model.stop_multi_process_pool(pool)


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """transformers shows a bar as it loads weights, wherever its output goes."""
    from transformers.utils import logging

    if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
