"""What encoders are tried on: small catalogues, and a tiny sentence-transformers model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recllm.catalog.items import Items
from recllm.data_prep.encoders import Encoded, EncoderInput

TITLES = [
    "red nail polish",
    "blue nail polish",
    "green nail polish",
    "",
    "hair dryer",
    "hair brush",
]
SEQUENCES = [[0, 1, 2], [1, 2, 0, 1], [4, 5], [5, 4, 5]]
#: The tiny model knows these; every other word is unknown to it.
WORDS = ["red", "blue", "green", "nail", "polish", "hair", "dryer", "brush"]
#: What it reads of a text, with a token at each end.
MAX_TOKENS = 8


def make_items(titles: Sequence[str | None], **columns: Sequence[str | None]) -> Items:
    """Items whose ids are their indices."""
    ids = [str(index) for index in range(len(titles))]
    texts = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return Items(pa.table({"item_id": ids, "title": pa.array(titles, pa.string()), **texts}))


def make_input(
    titles: Sequence[str | None] = TITLES,
    sequences: Iterable[Iterable[int]] = SEQUENCES,
    dimensions: int = 4,
    cache: Path | None = None,
) -> EncoderInput:
    """What an encoder is given, with seed 0."""
    arrays = [np.asarray(list(s), dtype=np.int32) for s in sequences]
    return EncoderInput(make_items(titles), arrays, dimensions, 0, cache)


def many_items(items: int = 300, dimensions: int = 16) -> EncoderInput:
    """Random titles of four words out of sixty, and random sequences."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(52)] + WORDS)
    titles = [" ".join(rng.choice(words, 4)) for _ in range(items)]
    sequences = [rng.integers(0, items, 6).tolist() for _ in range(400)]
    return make_input(titles, sequences, dimensions)


def write_sentence_model(
    folder: Path, seed: int = 0, prompts: Mapping[str, str] | None = None, width: int = 16
) -> Path:
    """Save a sentence-transformers model with one random layer and the words above."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    ids = {word: number for number, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[misc]
    ends = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[misc]
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    config = BertConfig(
        vocab_size=len(ids), hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=2 * width, max_position_embeddings=2 * MAX_TOKENS,
    )  # fmt: skip
    torch.manual_seed(seed)
    parts = folder.with_name(f"{folder.name}-parts")
    BertModel(config).save_pretrained(parts)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, **special
    )
    fast.save_pretrained(parts)
    transformer = Transformer(str(parts), max_seq_length=MAX_TOKENS)
    modules = [transformer, Pooling(width)]
    made = SentenceTransformer(modules=modules, device="cpu", prompts=dict(prompts or {}))
    made.save(str(folder))
    return folder


def encode_texts(
    model: str,
    titles: Sequence[str | None] = TITLES,
    cache: Path | None = None,
    **options: Any,
) -> Encoded:
    """What the encoder sentence-transformers makes of items with these titles."""
    from recllm.data_prep.encoders.sentence_transformers import SentenceTransformers

    encoder = SentenceTransformers(model=model, **options)
    return encoder.encode(make_input(titles, [], cache=cache))
