"""SASRec: what it learns, its losses against plain ones, what it keeps to itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from recllm.baselines.ranking import rank_by_keys
from recllm.baselines.sasrec import EpochFigures, HeldOut, SasRec, _losses, _order_preserving
from recllm.baselines.sasrec._losses import Negatives, binary_cross_entropy, cross_entropy
from recllm.baselines.sasrec._network import Network
from recllm.baselines.sasrec._packing import Packed, by_length
from recllm.baselines.sasrec._training import Training, cut_windows
from recllm.catalog.histories import Spans
from recllm.config.sasrec_section import SasrecSection
from recllm.errors import UserError

ITEMS = 11
SMALL = SasrecSection(
    width=16, heads=2, max_length=6, dropout=0.0, epochs=8, batch_size=8, learning_rate=1e-2
)
LISTS = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=15), min_size=1, max_size=8)


def chains(count: int = 60, length: int = 8, step: int = 3) -> list[list[int]]:
    """Sequences in which each item tells the next: it is `step` further, round and round."""
    starts = np.random.default_rng(0).integers(0, ITEMS, count)
    return [[int(start + step * i) % ITEMS for i in range(length)] for start in starts]


def held_out(sequences: list[list[int]], exclude: bool = False) -> HeldOut:
    histories = Spans.from_lists(sequence[:-1] for sequence in sequences)
    targets = np.array([sequence[-1] for sequence in sequences], dtype=np.int32)
    return HeldOut(histories, targets, histories if exclude else None)


def fit(sequences: list[list[int]], options: SasrecSection = SMALL, **more: Any) -> SasRec:
    return SasRec.fit(Spans.from_lists(sequences), ITEMS, options, **more)


def weights(model: SasRec) -> dict[str, Tensor]:
    return dict(model._network.state_dict())


@pytest.mark.parametrize(("loss", "length", "epochs"), [("cross-entropy", 8, 15), ("bce", 2, 60)])
def test_it_learns_what_follows_what(loss: str, length: int, epochs: int) -> None:
    """With bce from pairs: of a longer sequence, items never stand against each other."""
    options = SMALL.model_copy(update={"loss": loss, "epochs": epochs, "patience": epochs})
    figures: list[EpochFigures] = []
    rows = held_out(chains(20, length=length - length // 4))
    model = fit(chains(length=length), options, valid=rows, on_epoch=figures.append)
    found = model.rank(rows.histories, rows.targets, 3)
    assert (found.ranks == 0).mean() > 0.9
    assert figures[-1].loss < figures[0].loss / 2
    assert max(figure.metrics["ndcg@10"] for figure in figures) > 0.9


# -- the losses, against plain ones -----------------------------------------------------------


def plain_states(network: Network, sequence: list[int], settings: SasrecSection) -> Tensor:
    """(positions, width) by the formulas, one sequence with all its pads, one position a time."""
    pads = settings.max_length - len(sequence)
    items = torch.tensor(sequence + [0] * pads)
    hidden = network.items(items) + network.places(torch.arange(settings.max_length))
    size = settings.width // settings.heads
    layers: Any = network.layers
    for layer in layers:
        normed = layer.attention_norm(hidden)
        query, key, value = layer.to_attend(normed).split(settings.width, dim=1)
        attended = []
        for place in range(settings.max_length):
            of_heads = []
            for head in range(settings.heads):
                part = slice(head * size, (head + 1) * size)
                logits = key[: place + 1, part] @ query[place, part] / size**0.5
                of_heads.append(torch.softmax(logits, 0) @ value[: place + 1, part])
            attended.append(torch.cat(of_heads))
        hidden = hidden + layer.attended(torch.stack(attended))
        inner = torch.relu(layer.inner(layer.feed_norm(hidden)))
        hidden = hidden + layer.outer(inner)
    return network.norm(hidden)[: len(sequence)]


def plain_loss(
    network: Network, windows: list[list[int]], settings: SasrecSection,
    loss: Callable[[Tensor, int, int], Tensor],
) -> Tensor:  # fmt: skip
    losses = []
    for number, window in enumerate(windows):
        states = plain_states(network, window[:-1], settings)
        for place, state in enumerate(states):
            losses.append(loss(network.items.weight @ state, window[place + 1], number))
    return torch.stack(losses).mean()


def make_network(settings: SasrecSection = SMALL) -> Network:
    torch.manual_seed(0)
    network = Network(ITEMS, settings)
    for weight in network.parameters():  # far from the start, where all scores are alike
        torch.nn.init.normal_(weight, std=0.5)
    return network


def gradients(network: Network, loss: Tensor) -> list[Tensor]:
    network.zero_grad()
    loss.backward()
    return [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]


@settings(max_examples=25)
@given(LISTS.filter(lambda lists: any(len(items) > 1 for items in lists)), st.integers(1, 60))
def test_cross_entropy_is_that_of_a_padded_loop(lists: list[list[int]], cells: int) -> None:
    network = make_network()
    training = Training.of(SMALL, Spans.from_lists(lists), ITEMS, dict)
    windows = [window.tolist() for window in training.windows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_losses, "CELLS", cells)
        fast = training._loss(network, np.arange(len(windows)), np.random.default_rng(0))
        of_fast = gradients(network, fast)
    plain = plain_loss(
        network, windows, SMALL,
        lambda scores, target, _: functional.cross_entropy(scores, torch.tensor(target)),
    )  # fmt: skip
    assert fast.item() == pytest.approx(plain.item(), rel=1e-4)
    for one, other in zip(of_fast, gradients(network, plain), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_binary_cross_entropy_is_that_of_a_padded_loop() -> None:
    network = make_network()
    lists = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 1, 2, 3], [0, 1, 2, 5]]
    spans = Spans.from_lists(lists)
    spans = spans.select(by_length(spans))
    inputs = Spans(spans.items, spans.starts, spans.ends - 1)
    owner, targets = Spans(spans.items, spans.starts + 1, spans.ends).flatten()
    hidden = network(Packed.pack(inputs, torch.device("cpu")))
    negatives = torch.tensor([10, 9, 0, 6])[owner]
    fast = binary_cross_entropy(
        hidden, network.items.weight, torch.from_numpy(targets.astype(np.int64)), negatives
    )
    of_fast = gradients(network, fast)

    def loss(scores: Tensor, target: int, number: int) -> Tensor:
        right, wrong = torch.sigmoid(scores[target]), torch.sigmoid(scores[[10, 9, 0, 6][number]])
        return -torch.log(right) - torch.log(1 - wrong)

    plain = plain_loss(network, [list(s) for s in spans], SMALL, loss)
    assert fast.item() == pytest.approx(plain.item(), rel=1e-4)
    for one, other in zip(of_fast, gradients(network, plain), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_bfloat16_is_near() -> None:
    torch.manual_seed(0)
    hidden, vectors = torch.randn(40, 16, requires_grad=True), torch.randn(ITEMS, 16)
    targets = torch.randint(0, ITEMS, (40,))
    exact = cross_entropy(hidden, vectors, targets)
    (of_exact,) = torch.autograd.grad(exact, hidden)
    near = cross_entropy(hidden, vectors, targets, torch.bfloat16)
    (of_near,) = torch.autograd.grad(near, hidden)
    assert near.item() == pytest.approx(exact.item(), rel=0.02)
    assert torch.nn.functional.cosine_similarity(of_exact, of_near).min() > 0.99


def test_scores_that_are_far_apart_have_a_finite_loss() -> None:
    hidden = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    loss = cross_entropy(hidden, torch.eye(2), torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss)
    assert hidden.grad is not None and hidden.grad.tolist() == [[1, -1]]


@given(LISTS)
def test_packing_does_not_mix_sequences(lists: list[list[int]]) -> None:
    network = make_network().eval()
    lists = sorted((items[:6] for items in lists if items), key=len)
    if not lists:
        return
    together = network(Packed.pack(Spans.from_lists(lists), torch.device("cpu")))
    alone = [network(Packed.pack(Spans.from_lists([x]), torch.device("cpu"))) for x in lists]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


@given(LISTS, st.integers(1, 5))
def test_every_target_is_in_one_window(lists: list[list[int]], length: int) -> None:
    spans = Spans.from_lists(lists)
    windows = cut_windows(spans, length)
    assert (windows.lengths >= 2).all() and (windows.lengths <= length + 1).all()
    targets = sorted(
        place
        for s, e in zip(windows.starts, windows.ends, strict=True)
        for place in range(s + 1, e)
    )
    expected = [p for s, e in zip(spans.starts, spans.ends, strict=True) for p in range(s + 1, e)]
    assert targets == expected
    inside = [np.any((spans.starts <= s) & (e <= spans.ends))
              for s, e in zip(windows.starts, windows.ends, strict=True)]  # fmt: skip
    assert all(inside)


@given(LISTS, st.integers(0, 5))
def test_negatives_are_all_that_a_sequence_does_not_have(lists: list[list[int]], seed: int) -> None:
    negatives = Negatives(Spans.from_lists(lists), ITEMS)
    assert negatives.fewest == ITEMS - max(len(set(items)) for items in lists)
    chosen = [i for i, items in enumerate(lists) if len(set(items)) < ITEMS]
    rng = np.random.default_rng(seed)
    for number in chosen:
        drawn = negatives.draw(np.full(400, number), rng)
        assert set(drawn.tolist()) == set(range(ITEMS)) - set(lists[number])
    mixed = negatives.draw(np.repeat(chosen, 3), rng) if chosen else []
    for number, item in zip(np.repeat(chosen, 3), mixed, strict=True):
        assert item not in lists[number]


# -- ranking ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> SasRec:
    return fit(chains())


@given(LISTS, st.integers(1, 12), st.booleans(), st.data())
def test_ranks_are_those_of_sorting_the_scores(trained, lists, beams, exclude, data) -> None:
    histories = Spans.from_lists(lists)
    drawn = [data.draw(st.integers(0, ITEMS - 1)) for _ in lists]
    targets = np.array(drawn, dtype=np.int32)
    excluded = histories if exclude else None
    found = trained.rank(histories, targets, beams, excluded)
    scores = trained.scores(histories)
    for row, history in enumerate(lists):
        eligible = [x for x in range(ITEMS) if not (exclude and x in history)]
        if not history:
            assert not scores[row].any()
        order = sorted(eligible, key=lambda x: (-scores[row, x], x))[:beams]
        assert found.items[row].tolist() == order + [-1] * (beams - len(order))
        assert found.ranks[row] == (order.index(drawn[row]) if drawn[row] in order else -1)
    everywhere = trained.rank(histories, targets, ITEMS, excluded).ranks
    quick = trained.target_ranks(HeldOut(histories, targets, excluded))
    assert quick.tolist() == everywhere.tolist()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_keys_have_the_order_of_the_scores(scores: list[float]) -> None:
    keys = _order_preserving(np.array(scores, dtype=np.float32))
    assert keys.min() >= 0 and keys.max() < 2**32
    for one, key in zip(scores, keys, strict=True):
        for other, of_other in zip(scores, keys, strict=True):
            assert (one < other) == (key < of_other)


def test_keys_of_a_large_catalogue_do_not_overflow() -> None:
    scores = np.full((1, 3), np.finfo(np.float32).max)
    keys = _order_preserving(scores) * (2**31 - 1)
    found = rank_by_keys(lambda _: keys + np.arange(3)[::-1], 3, np.array([1], np.int32), 3, None)
    assert found.items.tolist() == [[0, 1, 2]]


def test_only_the_last_items_count(trained: SasRec) -> None:
    long = Spans.from_lists([[5, 9, 1, 0, 3, 6, 9, 1, 4], [0, 3, 6, 9, 1, 4]])
    scores = trained.scores(long)
    assert np.allclose(scores[0], scores[1], atol=1e-5)


# -- training ---------------------------------------------------------------------------------


def test_a_seed_gives_the_same_again_and_another_something_else() -> None:
    options = SMALL.model_copy(update={"dropout": 0.3, "epochs": 2})
    state = torch.random.get_rng_state()
    first = fit(chains(20), options, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    again, other = fit(chains(20), options, seed=4), fit(chains(20), options, seed=5)
    for name, weight in weights(first).items():
        assert torch.equal(weight, weights(again)[name]), name
    assert not torch.equal(weights(first)["items.weight"], weights(other)["items.weight"])


def test_validation_chooses_the_epoch_and_trains_nothing() -> None:
    sequences = [[s % 5 for s in range(start, start + 6)] for start in range(12)]
    rows = HeldOut(Spans.from_lists(sequences), np.full(12, 9, dtype=np.int32))
    log: list[EpochFigures] = []
    watched = fit(sequences, valid=rows, on_epoch=log.append)
    best = int(np.argmax([figure.metrics["ndcg@10"] for figure in log])) + 1
    alone = fit(sequences, SMALL.model_copy(update={"epochs": best}))
    for name, weight in weights(alone).items():
        assert torch.equal(weight, weights(watched)[name]), name


def test_only_the_spans_of_the_sequences_are_read() -> None:
    whole = Spans.from_lists(chains(20))
    training = Spans(whole.items, whole.starts, whole.ends - 2)
    other = whole.items.copy()
    other[whole.ends - 1] = other[whole.ends - 2] = 10
    first = SasRec.fit(training, ITEMS, SMALL)
    second = SasRec.fit(Spans(other, training.starts, training.ends), ITEMS, SMALL)
    for name, weight in weights(first).items():
        assert torch.equal(weight, weights(second)[name]), name


def test_it_stops_without_progress_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([0.1, 0.3, 0.2, 0.3, 0.25, 0.1, 0.9])
    seen: list[Tensor] = []

    def ranks(model: SasRec, _: HeldOut) -> np.ndarray:
        seen.append(weights(model)["items.weight"].clone())
        ndcg = next(figures)
        return np.where(np.arange(1000) < round(1000 * ndcg), 0, -1)

    monkeypatch.setattr(SasRec, "target_ranks", ranks)
    options = SMALL.model_copy(update={"epochs": 20, "patience": 3})
    log: list[EpochFigures] = []
    model = fit(chains(), options, valid=held_out(chains(5)), on_epoch=log.append)
    assert [figure.metrics["ndcg@10"] for figure in log] == [0.1, 0.3, 0.2, 0.3, 0.25]
    assert [figure.epoch for figure in log] == [1, 2, 3, 4, 5]
    assert torch.equal(weights(model)["items.weight"], seen[1])


def test_without_validation_rows_all_epochs_are_trained() -> None:
    options = SMALL.model_copy(update={"epochs": 5, "patience": 1})
    log: list[EpochFigures] = []
    nothing = HeldOut(Spans.from_lists([]), np.empty(0, dtype=np.int32))
    model = fit(chains(), options, valid=nothing, on_epoch=log.append)
    assert [figure.metrics for figure in log] == [{}] * 5
    assert log[0].as_row().keys() == {"epoch", "loss", "seconds"}
    for name, weight in weights(fit(chains(), options)).items():
        assert torch.equal(weight, weights(model)[name])


def test_there_must_be_something_to_learn() -> None:
    with pytest.raises(UserError, match="expected training sequences of two items or more"):
        fit([[1], [2], []])
    with pytest.raises(UserError, match=r"one has all 11; set sasrec\.loss: cross-entropy"):
        fit([list(range(ITEMS))], SMALL.model_copy(update={"loss": "bce", "max_length": 20}))


def test_what_is_saved_comes_back(tmp_path: Path, trained: SasRec) -> None:
    trained.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "settings.json"]
    again = SasRec.load(tmp_path)
    assert (again.items, again.settings) == (trained.items, trained.settings)
    histories = Spans.from_lists([[1, 2], [], [3] * 9])
    assert np.array_equal(again.scores(histories), trained.scores(histories))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "settings.json").unlink(),
        lambda folder: (folder / "settings.json").write_text("[]"),
        lambda folder: (folder / "settings.json").write_text('{"items": 3, "settings": {"a": 1}}'),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n"),
        lambda folder: (folder / "settings.json").write_text(
            json.dumps({"items": 3, "settings": {}})
        ),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, trained: SasRec, damage: Callable[[Path], object]
) -> None:
    trained.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match="expected a trained SASRec, but"):
        SasRec.load(tmp_path)
