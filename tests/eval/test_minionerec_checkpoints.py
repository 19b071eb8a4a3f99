"""A checkpoint of MiniOneRec is evaluated as its own code evaluates it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from command_line import Outcome, recllm
from plain_checkpoint import (
    END,
    ITEMS,
    RECIPE,
    SHARING,
    make_model,
    make_sids,
    make_tokenizer,
    save_plain,
    write_world,
)

from recllm.eval.peer_predictions import PeerPredictions
from recllm.metrics import compute

pytestmark = pytest.mark.slow

BEAMS = 20
SIDS = ["".join(sid) for sid in make_sids()]


def as_minionerec_asks(history: list[int], tokenizer: Any) -> list[int]:
    """The prompt of its EvalSidDataset: two texts, each turned into tokens by itself."""
    head = (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request. \n\n"
        "### Instruction:\nCan you predict the next possible item that the user may expect?\n\n"
    )
    question = (
        "Can you predict the next possible item the user may expect, given the following "
        f"chronological interaction history: {', '.join(SIDS[item] for item in history)}"
    )
    rest = f"### User Input: \n{question}\n\n### Response:\n"
    return tokenizer.encode(head) + tokenizer.encode(rest)


def as_minionerec_predicts(rows: list[tuple[str, list[int], int]]) -> list[dict[str, Any]]:
    """Its evaluate.py: beam search over SID, line break and end, each followed by the model."""
    tokenizer = make_tokenizer()
    model: Any = make_model(tokenizer)
    end = tokenizer.eos_token_id
    assert isinstance(end, int)
    heading = len(tokenizer.encode("### Response:\n"))
    following: dict[tuple[int, ...], set[int]] = {}
    for sid in SIDS:
        answer = [*tokenizer.encode(f"### Response:\n{sid}\n")[heading:], end]
        for place, token in enumerate(answer):
            following.setdefault(tuple(answer[:place]), set()).add(token)
    written = []
    for user, history, target in rows:
        prompt = as_minionerec_asks(history, tokenizer)

        def allowed(_: int, ids: torch.Tensor, start: int = len(prompt)) -> list[int]:
            return sorted(following.get(tuple(ids[start:].tolist()), {end}))

        found = model.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)),
            num_beams=BEAMS, num_return_sequences=BEAMS, length_penalty=0.0, do_sample=False,
            max_new_tokens=256, eos_token_id=end, pad_token_id=end,
            prefix_allowed_tokens_fn=allowed,
        )  # fmt: skip
        texts = tokenizer.batch_decode(found[:, len(prompt) :], skip_special_tokens=True)
        predict = [text.strip() for text in texts]
        written.append({"user": user, "output": f"{SIDS[target]}\n", "predict": predict})
    return written


def evaluate(folder: Path, *arguments: str) -> Outcome:
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    checkpoint = ["--checkpoint", str(folder / "plain")]
    return recllm("eval", str(folder / "recipe.yaml"), *arguments, *checkpoint)


def ranked_sids(folder: Path) -> dict[str, list[str]]:
    """The different SIDs of each user's list, best first."""
    table = pq.read_table(folder / "run/eval/checkpoints/0/predictions.parquet").to_pylist()
    return {
        row["user_id"]: list(dict.fromkeys(SIDS[int(i)] for i in row["item_ids"])) for row in table
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("world")
    rows = write_world(folder / "toys")
    save_plain(folder / "plain")
    predicted = as_minionerec_predicts(rows["test"])
    (folder / "final_result.json").write_text(json.dumps(predicted))
    return folder, predicted


def test_the_ranking_and_the_figures_are_those_of_minionerec(world) -> None:
    folder, predicted = world
    outcome = evaluate(folder)
    assert outcome.code == 0, outcome.err
    assert "no recllm.json, so a plain checkpoint: asked by prompts.template minionerec" in (
        outcome.err
    )
    found = ranked_sids(folder)
    assert len(found) == len(predicted)
    for row in predicted:
        sids = found[row["user"]]
        assert len(sids) >= BEAMS - SHARING and sids == row["predict"][: len(sids)]
    metrics = json.loads((folder / "run/eval/checkpoints/0/metrics.json").read_text())
    assert metrics["rows"] == len(predicted)
    ranks = PeerPredictions.read(folder / "final_result.json").ranks
    of_ours = {name: found["value"] for name, found in metrics["sid_metrics"].items()}
    of_peer = {name: compute(name, ranks).mean() for name in of_ours}
    # Items that share a SID take places of their own in a list of as many items as beams, so that
    # its last SIDs are missing: what looks that deep can only be lower.
    whole = f"mrr@{BEAMS}"
    assert of_ours.pop(whole) <= of_peer.pop(whole)
    assert of_ours == of_peer and {"hit@10", "ndcg@10"} < set(of_ours)
    assert 0 < of_peer["hit@1"] < of_peer["hit@10"] < 1
    # Item by item, only one of those that share a SID is right.
    of_items = {name: found["value"] for name, found in metrics["metrics"].items()}
    assert of_items[whole] < metrics["sid_metrics"][whole]["value"]
    told = recllm("score", "predictions", str(folder / "final_result.json"))
    assert_told(told.out, metrics["sid_metrics"])


def assert_told(text: str, metrics: Mapping[str, Any]) -> None:
    lines = dict(line.split()[:2] for line in text.splitlines()[1:])
    for name, estimate in metrics.items():
        if not name.startswith("mrr"):
            assert lines[name] == f"{estimate['value']:.4f}"


def test_items_of_no_row_can_be_recommended(world) -> None:
    folder, _ = world
    evaluate(folder)
    table = pq.read_table(folder / "run/eval/checkpoints/0/predictions.parquet")
    items = {int(item) for row in table["item_ids"].to_pylist() for item in row}
    assert items & {ITEMS - 2, ITEMS - 1}


def test_without_its_ending_the_ranking_is_another(world) -> None:
    folder, predicted = world
    template = folder / "unended.yaml"
    template.write_text('prompt: "{instruction}\\n{input}"\n')
    assert evaluate(folder, f"prompts.template={template}").code == 0
    found = ranked_sids(folder)
    assert any(found[row["user"]] != row["predict"][: len(found[row["user"]])] for row in predicted)


def test_the_level_scoring_is_refused(world) -> None:
    outcome = evaluate(world[0], "eval.scoring=level", "sft.loss=level")
    assert outcome.code == 2
    assert "prompts.template has an ending, which eval.scoring: level cannot score" in outcome.err


def test_a_tokenizer_that_splits_or_lacks_a_code_is_refused(world, tmp_path: Path) -> None:
    folder, _ = world
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=folder))
    places = [f"output_dir={tmp_path / 'run'}"]
    save_plain(tmp_path / "plain")
    path = tmp_path / "plain" / "tokenizer.json"
    described = json.loads(path.read_text())
    described["added_tokens"] = [t for t in described["added_tokens"] if t["content"] != "<c_3>"]
    path.write_text(json.dumps(described))
    call = ("eval", str(recipe), *places, "--checkpoint", str(tmp_path / "plain"))
    refused = recllm(*call)
    assert refused.code == 2 and "the tokenizer lacks 1 SID tokens" in refused.err, refused.err
    assert "such as <c_3>" in refused.err and refused.err.count("\n") < 8
    assert END in [token["content"] for token in described["added_tokens"]]
