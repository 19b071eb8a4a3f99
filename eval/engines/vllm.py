"""The vllm engine: the same search of the trie, its paths run by vLLM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from recllm.eval.engines import Engine, Known, Questions, Ranker

if TYPE_CHECKING:
    import torch

    from recllm.catalog.trie import Trie
    from recllm.config.schema import EvalSection
    from recllm.decoding.ranking import Ranking
    from recllm.decoding.scoring import Head
    from recllm.eval.engines._vllm_checkpoint import Prepared
    from recllm.eval.engines._vllm_paths import VllmPaths

#: What the engine decides by itself.
OWN = ("model", "tokenizer", "runner", "convert", "pooler_config", "dtype", "enable_lora")
#: Prompts whose paths are run together on a CPU, where memory has to be asked for.
ROWS_ON_CPU = 32


class Vllm(Engine):
    """Decodes with vLLM, level by level; its prefix cache holds the prompts.

    It ranks as the engine `transformers` does, with every scoring: vLLM gives the hidden states of
    paths (its pooling runner), from which the search scores their continuations.
    """

    vllm: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of vLLM's own LLM, such as tensor_parallel_size or "
        "gpu_memory_utilization; they are passed on",
    )

    @field_validator("vllm")
    @classmethod
    def _known(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        from recllm.config.registry import nearest
        from recllm.config.trainer_fields import annotated_fields

        own = [name for name in arguments if name in OWN]
        if own:
            raise ValueError(f"the engine sets {', '.join(own)} by itself; take it out")
        if arguments.get("data_parallel_size", 1) != 1:
            raise ValueError(
                "expected data_parallel_size of 1: vLLM serves one copy of a model in a process; "
                "evaluate in several processes instead: recllm eval RECIPE --processes N"
            )
        try:
            known = annotated_fields("vllm.engine.arg_utils", "EngineArgs")
        except ModuleNotFoundError:  # not installed: said where it is needed
            return arguments
        for name in arguments:
            if name not in known:
                close = nearest(name, known)
                hint = f"; did you mean {close!r}?" if close else ""
                raise ValueError(f"vLLM's EngineArgs have no {name!r}{hint}")
        return arguments

    def open(self, checkpoint: Path, known: Known, settings: EvalSection, dtype: str) -> Ranker:
        """See the base class; prepares an adapter, and loads vLLM's model when it first ranks.

        Raises:
            UserError: vLLM is not there, or the model is none that it can rank with.
        """
        from recllm.decoding.support import check_search, check_vocabulary
        from recllm.eval.engines._vllm_checkpoint import prepare
        from recllm.eval.engines._vllm_paths import import_vllm
        from recllm.models.checkpoint_files import load_renderer
        from recllm.models.devices import resolve_device, resolve_dtype
        from recllm.models.item_trie import item_trie

        import_vllm()
        device = resolve_device()
        trie = item_trie(load_renderer(checkpoint)).to(device)
        check_search(trie, settings.beams, settings.scoring)
        prepared = prepare(checkpoint, known.cache / "vllm", resolve_dtype(dtype))
        head = prepared.head().to(device, resolve_dtype(dtype))
        check_vocabulary(trie, head)
        return VllmRanker(prepared, head, trie, settings, resolve_dtype(dtype), self.vllm)


class VllmRanker(Ranker):
    """Searches the trie of the checkpoint's items with vLLM."""

    def __init__(  # noqa: PLR0917 (the parts of an engine)
        self,
        prepared: Prepared,
        head: Head,
        trie: Trie,
        settings: EvalSection,
        dtype: torch.dtype,
        arguments: dict[str, Any],
    ) -> None:
        from transformers import AutoConfig

        from recllm.decoding.support import longest_path

        super().__init__()
        self._prepared, self._head, self._trie = prepared, head, trie
        self._settings, self._dtype, self._arguments = settings, dtype, arguments
        self._config = AutoConfig.from_pretrained(prepared.model).get_text_config(decoder=True)
        self._limit = longest_path(self._config)
        self._paths: VllmPaths | None = None
        self._longest = 0

    def rank(self, questions: Questions, advance: Callable[[int], None] | None = None) -> Ranking:
        """See the base class.

        Raises:
            UserError: a prompt is too long for the model, or vLLM cannot run it.
        """
        from recllm.decoding.batching import beam_tokens
        from recllm.decoding.ranking import Constraints, rank_in_batches
        from recllm.decoding.search import Search
        from recllm.decoding.support import check_lengths
        from recllm.eval.engines._vllm_paths import RequestTree

        check_lengths(questions.prompts, self._trie, self._limit)
        settings, beams = self._settings, questions.beams(self._settings.beams)
        self.counts = {"beam_tokens": len(questions) * beam_tokens(self._trie, beams)}
        paths = self._load(max(map(len, questions.prompts)) + self._trie.depth)
        capacity, block = paths.capacity
        search = Search(
            partial(RequestTree, paths), self._head, self._trie, beams, settings.scoring
        )
        return rank_in_batches(
            search,
            questions.prompts,
            Constraints(questions.exclude, questions.only),
            extra=_tokens_of_beams(beams, block),
            budget=min(capacity, settings.batch_tokens or capacity),
            progress=advance,
        )

    @property
    def choices(self) -> dict[str, Any]:
        """The precision by the device."""
        return {"dtype": str(self._dtype).removeprefix("torch.")}

    def close(self) -> None:
        """See the base class."""
        if self._paths is not None:
            self._paths.close()
            self._paths = None

    def _load(self, longest: int) -> VllmPaths:
        """The model, with room for paths of `longest` tokens."""
        from recllm.decoding.batching import cached_numbers
        from recllm.eval.engines._vllm_paths import VllmPaths

        if self._paths is None or longest > self._longest:
            self.close()
            device = self._trie.device
            extra = _tokens_of_beams(self._settings.beams, 32)
            each = cached_numbers(self._config) * self._dtype.itemsize
            cache = ROWS_ON_CPU * (longest + extra) * each
            self._longest = longest
            self._paths = VllmPaths(
                self._prepared, device, self._dtype, longest, cache, self._arguments
            )
        return self._paths


def _tokens_of_beams(beams: int, block: int) -> int:
    """What the beams of a row take of the cache at a level, so that none drives a prompt out.

    Whatever a path has behind its last full block that others share lies in one or two of its own.
    """
    return 2 * beams * block
