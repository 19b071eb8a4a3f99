"""A tiny world in MiniOneRec's files, and a model for it as transformers saves one."""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

END = "<|endoftext|>"
#: How Qwen2.5's tokenizer cuts a text before its merges.
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ITEMS, ROWS, SHARING, UNKNOWN = 40, 60, 8, 999
HEADER = "user_id,history_item_title,item_title,history_item_id,item_id,history_item_sid,item_sid\n"
#: Keys of a recipe that evaluates such a model.
RECIPE = """
extends: minionerec-released
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{path: {folder}/toys}}
model: {{dtype: float32}}
eval: {{beams: 20, cutoffs: [1, 3, 5, 10], bootstrap: 100}}
"""


def make_sids() -> list[list[str]]:
    """The SID of each item; the last `SHARING` items have those of the first, some codes none."""
    places = np.random.default_rng(0).permutation(6 * 5 * 4)[: ITEMS - SHARING]
    sids = [[f"<a_{3 * (p // 20)}>", f"<b_{p // 4 % 5 + 2}>", f"<c_{p % 4}>"] for p in places]
    return sids + sids[:SHARING]


def write_world(folder: Path, outside: int = 0) -> dict[str, list[tuple[str, list[int], int]]]:
    """Its files, and the rows that they hold by split: user, history and target.

    Args:
        outside: how many rows of each split, the first ones, have a target of which the files of
            the items say nothing.
    """
    rng, sids = np.random.default_rng(1), make_sids()
    folder.mkdir()
    named = {"Toys.index.json": {str(i): sid for i, sid in enumerate(sids)},
             "Toys.item.json": {str(i): {"title": f"Top {i}"} for i in range(ITEMS)}}  # fmt: skip
    for name, content in named.items():
        (folder / name).write_text(json.dumps(content))
    rows: dict[str, list[tuple[str, list[int], int]]] = {}
    for split, first in (("train", 0), ("valid", ROWS), ("test", 2 * ROWS)):
        drawn = rng.integers(0, ITEMS - 2, (ROWS, 6)).tolist()  # two items are in no row
        rows[split] = [(f"A{first + i}", d[: i % 5 + 1], d[-1]) for i, d in enumerate(drawn)]
        rows[split][:outside] = [(user, h, UNKNOWN) for user, h, _ in rows[split][:outside]]
        lines = (_line(user, history, target, sids) for user, history, target in rows[split])
        (folder / f"Toys.{split}.csv").write_text(HEADER + "".join(lines))
    return rows


def _line(user: str, history: list[int], target: int, sids: list[list[str]]) -> str:
    titles, texts = [f"Top {i}" for i in history], ["".join(sids[i]) for i in history]
    sid = "".join(sids[target]) if target < len(sids) else "<a_9><b_9><c_9>"
    return f'{user},"{titles}",Top {target},"{history}",{target},"{texts}",{sid}\n'


def make_tokenizer() -> PreTrainedTokenizerBase:
    """Bytes and the merges of the answer's heading, cut as Qwen2.5 does, and the items' codes."""
    backend = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(["### Response:\n\n, "] * 9, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=END)
    tokenizer.add_tokens(sorted({token for sid in make_sids() for token in sid}))
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Random weights in the shape of Qwen2.5."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen2", vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def save_plain(folder: Path) -> None:
    """Save both, and nothing of recllm's."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
