"""vLLM's own beam search under a constraint: what the engine vllm is compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.eval.engines._vllm_paths import import_vllm


class StockBeamSearch:
    """`LLM.beam_search` with a grammar that lists the SIDs of the catalogue.

    Its scores are normalised over the tokens that the grammar allows (`processed_logprobs`;
    with raw ones it loses beams), as those of scoring `trie` are.
    """

    def __init__(
        self, model: Path, sids: Sequence[str], prompt: int, beams: int, cache: int
    ) -> None:
        """Load the model.

        Args:
            prompt: tokens of a prompt.
            cache: bytes that keys and values may take.
        """
        vllm = import_vllm()
        from vllm.sampling_params import BeamSearchParams, StructuredOutputsParams
        from vllm.v1.structured_output.utils import choice_as_grammar

        self._llm: Any = vllm.LLM(
            str(model),
            dtype="float32",
            enforce_eager=True,
            max_model_len=prompt + 8,
            block_size=32,
            kv_cache_memory_bytes=cache,
            max_logprobs=2 * beams,
            logprobs_mode="processed_logprobs",
            structured_outputs_config={"backend": "xgrammar"},
            use_tqdm_on_load=False,
        )
        self._parameters = BeamSearchParams(
            beam_width=beams,
            max_tokens=3,
            ignore_eos=True,
            structured_outputs=StructuredOutputsParams(grammar=choice_as_grammar(list(sids))),
        )

    def rank(self, prompts: Sequence[Sequence[int]]) -> list[tuple[list[tuple[int, ...]], Any]]:
        """For each prompt the last three tokens of its paths, best first, and their scores."""
        given = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        found = []
        for output in self._llm.beam_search(given, self._parameters):
            paths = [tuple(sequence.tokens[-3:]) for sequence in output.sequences]
            scores: NDArray[np.float64] = np.array([s.cum_logprob for s in output.sequences])
            found.append((paths, scores))
        return found

    def close(self) -> None:
        """Give the memory back."""
        from vllm.distributed import cleanup_dist_env_and_memory

        del self._llm
        cleanup_dist_env_and_memory()
