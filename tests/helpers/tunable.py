"""Small pretrained models in folders, and recommenders tuned from them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.model_section import ModelSection
from recllm.models.backbone import load_backbone
from recllm.models.loading import load_model
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import add_sid_tokens, load_tokenizer, train_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

ITEMS, CODES = 30, 8
TITLES = [f"{'Quiet' if i % 2 else 'Loud'} harbor, volume {i}" for i in range(ITEMS)]
HISTORIES = [[1, 2, 3], [29], [4, 4, 5, 6]]


def save_base(
    folder: Path, architecture: str = "qwen2", tied: bool = True, seed: int = 0, hidden: int = 32,
    *, layers: int = 2,
) -> str:  # fmt: skip
    """A model with random weights and its tokenizer, as a Hub checkpoint has them."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(TITLES, 300)
    config = AutoConfig.for_model(
        architecture, vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=2 * hidden,
        num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
        head_dim=hidden // 4, tie_word_embeddings=tied, initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_plain_adapter(base: str, folder: Path, seed: int = 5, **options: Any) -> torch.Tensor:
    """An adapter as another program makes one; the model's logits on a few tokens.

    Args:
        options: of `LoraConfig`.
    """
    torch.manual_seed(seed)
    lora = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], **options)
    model = get_peft_model(load_model(base, torch.float32), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(folder))
    with torch.no_grad():
        return model.eval()(torch.tensor([[3, 4, 5]])).logits


def name_base(adapter: Path, base: str | None) -> None:
    """Let an adapter of another program name another base, or none."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base
    (adapter / "adapter_config.json").write_text(json.dumps(config))


def make_catalog(shift: int = 0, items: int = ITEMS) -> CatalogText:
    """Two levels of eight codes; another `shift` is another index."""
    numbers = (np.arange(items) + shift) % (CODES * CODES)
    codes = np.stack([numbers // CODES, numbers % CODES], axis=1).astype(np.int32)
    ids = [f"id{i}" for i in range(items)]
    titles = [TITLES[i % ITEMS] for i in range(items)]
    return CatalogText(
        Items(pa.table({"item_id": ids, "title": titles})), SidIndex(ids, codes, CODES)
    )


def make_section(name: str, tuning: str = "lora", **options: Any) -> ModelSection:
    """A recipe's `model`; LoRA of rank 4 where it has LoRA and no other is given."""
    if "lora" in tuning and "lora" not in options:
        options["lora"] = {"rank": 4, "alpha": 8}
    return ModelSection.model_validate({"name": name, "tuning": tuning, **options})


def tune(section: ModelSection, catalog: CatalogText | None = None, seed: int = 0) -> Recommender:
    """What is trained, before training."""
    catalog = catalog or make_catalog()
    tokenizer = load_tokenizer(section, [])
    add_sid_tokens(tokenizer, catalog.sids)
    model = load_backbone(section, tokenizer, seed, catalog)
    renderer = Renderer(Template.load("plain"), catalog, tokenizer, 4)
    return Recommender(model, renderer, scoring="vocab", exclude_history=False)


def disturb(recommender: Recommender, seed: int = 1) -> Recommender:
    """As training would: everything that is trained gets other values."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in recommender.model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.1 * noise.to(parameter.dtype)
    recommender.model.eval()
    return recommender


@torch.no_grad()
def logits(recommender: Recommender) -> torch.Tensor:
    """The model's logits on a prompt and an item, dropout off."""
    prompt = recommender.renderer.recommendation_prompts([[1, 2]])[0]
    (answer,) = recommender.renderer.encode_answers([recommender.sids.texts()[3]])
    model = recommender.model.eval()
    return model(torch.tensor([prompt + answer])).logits
