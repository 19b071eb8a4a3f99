"""Backbones: the architectures, local folders, and the rows of new tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from recllm.config.schema import ModelSection
from recllm.errors import UserError
from recllm.models.backbone import load_backbone
from recllm.models.tokenizers import load_tokenizer, train_tokenizer
from recllm.models.vocabulary import extend_vocabulary

TEXTS = [f"a book about number {i}" for i in range(50)]
SMALL = {"hidden": 32, "layers": 2, "heads": 2, "vocabulary": 300}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, 300)


def tables(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights of the head and of the embedding."""
    return model.get_output_embeddings().weight, model.get_input_embeddings().weight


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_from_scratch(tokenizer, architecture: str, tied: bool) -> None:
    sizes = SMALL | {"architecture": architecture, "tie_embeddings": tied}
    section = ModelSection(from_scratch=sizes)  # type: ignore[arg-type]
    model = load_backbone(section, tokenizer, seed=0)
    assert model.config.model_type == architecture
    head, embedding = tables(model)
    assert (head is embedding) == tied
    assert len(embedding) == len(tokenizer)
    again = load_backbone(section, tokenizer, seed=0)
    assert torch.equal(tables(again)[1], embedding)


def test_dropout_acts_in_training_alone(tokenizer) -> None:
    section = ModelSection(from_scratch=SMALL | {"dropout": 0.5})  # type: ignore[arg-type]
    model = load_backbone(section, tokenizer, seed=0)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        model.train()
        assert not torch.equal(model(tokens).logits, model(tokens).logits)
        model.eval()
        assert torch.equal(model(tokens).logits, model(tokens).logits)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_look_like_the_old_and_leave_them_alone(architecture: str, tied: bool) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture, vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, tie_word_embeddings=tied,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    before = model.get_input_embeddings().weight.detach().clone()
    tokens = torch.tensor([[5, 6, 7]])
    logits = model(tokens).logits.detach()
    extend_vocabulary(model, 400, 460, seed=1)
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        table = module.weight.detach()
        assert table.shape == (460, 32)
        new, old = table[400:], table[:400]
        assert len(torch.unique(new, dim=0)) == 60
        assert torch.allclose(new.mean(0), old.mean(0), atol=0.02)
        assert 0.03 < (new.std() / old.std()).item() < 0.3
    assert torch.equal(model.get_input_embeddings().weight[:400], before)
    assert torch.allclose(model(tokens).logits[..., :400], logits, atol=1e-6)
    assert model.config.vocab_size == 460


def test_new_tokens_take_rows_that_were_never_trained_and_draw_them_anew() -> None:
    config = AutoConfig.for_model(
        "qwen2", vocab_size=500, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    before = tables(model)[1].detach().clone()
    extend_vocabulary(model, 400, 460, seed=1)
    after = tables(model)[1]
    assert model.config.vocab_size == 500
    assert torch.equal(after[:400], before[:400])
    assert torch.equal(after[460:], before[460:])
    assert not (after[400:460] == before[400:460]).all(dim=1).any()


def test_a_local_folder(tmp_path: Path, tokenizer) -> None:
    section = ModelSection(from_scratch=SMALL)  # type: ignore[arg-type]
    model = load_backbone(section, tokenizer, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    named = ModelSection(name=str(tmp_path))
    loaded = load_tokenizer(named, [])
    assert loaded.get_vocab() == tokenizer.get_vocab()
    again = load_backbone(named, loaded, seed=0)
    assert torch.equal(tables(model)[1], tables(again)[1])


def test_weights_in_pickle_files_are_refused(tmp_path: Path, tokenizer) -> None:
    model = load_backbone(ModelSection(from_scratch=SMALL), tokenizer, seed=0)  # type: ignore[arg-type]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(ModelSection(name=str(tmp_path)), tokenizer, seed=0)


def test_a_model_that_is_not_there(tokenizer) -> None:
    for load in (lambda s: load_tokenizer(s, []), lambda s: load_backbone(s, tokenizer, 0)):
        with pytest.raises(UserError, match=r"model\.name"):
            load(ModelSection(name="no-such/model-here"))
