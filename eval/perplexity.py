"""How much general language a checkpoint has kept: its perplexity on a text, beside its base's."""

import gc
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from recllm.catalog.sids import SidIndex
from recllm.config.model_section import Tuning
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.eval.general_text import read_text, text_identity
from recllm.models.backbone import on_device
from recllm.models.devices import resolve_dtype
from recllm.models.loading import load_model
from recllm.models.perplexity import token_losses, window_of
from recllm.models.recommender import Recommender
from recllm.models.references import BaseReference, is_adapter
from recllm.models.tokenizers import load_tokenizer_of, sid_token_ids
from recllm.models.tuned import TunedModel
from recllm.progress import progress

log = logging.getLogger(__name__)

OTHER_TOKENS = "its tokenizer splits the text in another way"


@dataclass(frozen=True)
class Question:
    """What a checkpoint and its base are both asked.

    Attributes:
        tokens: the text's ids, the same for both.
        start: the token before them: that which begins a text, or else ends one.
        sids: the ids of the SID tokens.
        window, stride: see `recllm.models.perplexity`.
        text_bytes: of the text in UTF-8.
    """

    tokens: Sequence[int]
    start: int
    sids: Sequence[int]
    window: int
    stride: int
    text_bytes: int

    def ask(self, model: PreTrainedModel, label: str) -> dict[str, Any]:
        """Perplexity and bits per byte, over the whole vocabulary and without the SID tokens."""
        with progress(f"perplexity of the {label}", len(self.tokens)) as advance:
            whole, without = token_losses(
                model,
                self.tokens,
                start=self.start,
                left_out=self.sids,
                window=self.window,
                stride=self.stride,
                progress=advance,
            )
        return {**self._figures(whole), "without_sids": self._figures(without)}

    def _figures(self, losses: NDArray[np.float64]) -> dict[str, float]:
        bits = float(losses.sum()) / math.log(2)
        perplexity = math.exp(float(losses.mean()))
        return {"perplexity": perplexity, "bits_per_byte": bits / self.text_bytes}


def measure_perplexity(recipe: Recipe, path: Path, checkpoint: Path) -> dict[str, Any]:
    """The perplexity of a checkpoint and of its base on the text in `path`.

    Each token is scored once. The text follows the token that begins one (or else ends one), and
    is scored in windows of the model's context, 2,048 tokens at most, half of a window at a time,
    so that every token but those of the first window has at least half a window before it. Bits
    per byte compare models whose tokenizers differ, perplexities do not. SID tokens have a share
    of the probability, which the text never gets: `without_sids` is normalised over the other
    tokens alone.

    Returns:
        `text` (name, sha256, bytes), `tokens`, `start` (the token before the text), `window`,
        `stride`, `checkpoint` and, where there is a pretrained base, `base`: `perplexity`,
        `bits_per_byte` and both again in `without_sids`. Of the base also its `name`; where its
        tokenizer splits the text in another way, `left_out` says so in place of the figures.

    Raises:
        UserError: the text or a model cannot be read, or the text holds SID tokens.
    """
    text = read_text(path)
    recommender = Recommender.load(checkpoint, resolve_dtype(recipe.model.dtype))
    question = _question(recommender, text)
    stated = {
        "text": text_identity(path) | {"bytes": question.text_bytes},
        "tokens": len(question.tokens),
        "start": recommender.renderer.tokenizer.convert_ids_to_tokens(question.start),
        "window": question.window,
        "stride": question.stride,
        "checkpoint": question.ask(recommender.model, "checkpoint"),
    }
    base = base_of(recipe, checkpoint)
    if base is None:
        return stated
    model = recommender.model
    tuning: Tuning = model.tuning if isinstance(model, TunedModel) else "full"
    del recommender, model
    gc.collect()  # adapters hold themselves in circles; two models may not fit beside each other
    return stated | {"base": {"name": base.name, **_ask_base(recipe, base, tuning, question, text)}}


def base_of(recipe: Recipe, checkpoint: Path) -> BaseReference | None:
    """The pretrained model that a checkpoint was trained from, None where it had none.

    An adapter names it; of a whole model it is that of the recipe.
    """
    if is_adapter(checkpoint):
        return BaseReference.of_adapter(checkpoint)
    return None if recipe.model.name is None else BaseReference(recipe.model.name)


def _ask_base(
    recipe: Recipe, base: BaseReference, tuning: Tuning, question: Question, text: str
) -> dict[str, Any]:
    """The figures of the base, loaded as for the training; or why there are none."""
    remote = recipe.model.trust_remote_code
    if _encode(load_tokenizer_of(base.name, remote), text) != list(question.tokens):
        log.warning("perplexity: the base %s is left out: %s", base.name, OTHER_TOKENS)
        return {"left_out": OTHER_TOKENS}
    model = load_model(
        base.name,
        resolve_dtype(recipe.model.dtype),
        tuning=tuning,
        revision=base.revision,
        trust_remote_code=remote,
    )
    return question.ask(on_device(model), "base")


def _question(recommender: Recommender, text: str) -> Question:
    tokenizer, index = recommender.renderer.tokenizer, recommender.sids
    sids: list[int] = []
    if isinstance(index, SidIndex):
        sids = np.concatenate(sid_token_ids(tokenizer, index)).tolist()
    tokens = _encode(tokenizer, text)
    if spoken := set(tokens) & set(sids):
        shown = tokenizer.convert_ids_to_tokens(min(spoken))
        raise UserError(
            "eval.perplexity: expected a text of general language, found tokens of SIDs in it, "
            f"such as {shown}; take them out"
        )
    begins: Any = tokenizer.bos_token_id
    ends: Any = tokenizer.eos_token_id
    window = window_of(recommender.model)
    return Question(
        tokens=tokens,
        start=ends if begins is None else begins,
        sids=sids,
        window=window,
        stride=window // 2,
        text_bytes=len(text.encode()),
    )


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)
