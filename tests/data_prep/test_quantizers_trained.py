"""The quantizers that train an autoencoder: RQ-VAE and RQ-KMeans+."""

import numpy as np
import pytest
import torch

from recllm.catalog.sid_tree import reconstruction_errors
from recllm.data_prep.quantizers import _kmeans as kmeans
from recllm.data_prep.quantizers._autoencoder import (
    Refinement,
    ResidualQuantizedAutoencoder,
    perceptron,
)
from recllm.data_prep.quantizers._residual_kmeans import fit_residual
from recllm.data_prep.quantizers._sinkhorn import Evenly
from recllm.data_prep.quantizers._training import _rise_and_fall
from recllm.data_prep.quantizers.rq_kmeans_plus import RefinedResidualKMeans
from recllm.data_prep.quantizers.rq_vae import ResidualQuantizedVae

SMALL_VAE = {"hidden": [32], "latent": 8, "iterations": 10, "batch_size": 128}


@pytest.fixture(scope="module")
def vectors():
    """On a curved surface of few dimensions, which an encoder can learn."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(600, 4))
    return np.tanh(hidden @ rng.normal(size=(4, 16))).astype(np.float32)


def explained(vectors, quantized):
    """The share of the variance of what was quantized that the codes explain."""
    what = vectors if quantized.vectors is None else quantized.vectors
    errors = reconstruction_errors(what, quantized.codes, quantized.codebooks)
    return 1 - errors.mean() / what.var(axis=0).sum()


def test_the_codebooks_stand_for_the_latent_vectors(vectors):
    found = ResidualQuantizedVae(epochs=30, **SMALL_VAE).quantize(vectors, 3, 16, seed=0)
    assert found.vectors is not None and found.vectors.shape == (600, 8)
    assert found.codebooks.shape == (3, 16, 8)
    assert explained(vectors, found) > 0.7
    left = found.vectors.copy()
    for level, codebook in enumerate(found.codebooks):
        squared = ((left[:, None] - codebook) ** 2).sum(axis=2)
        chosen = squared[np.arange(600), found.codes[:, level]]
        np.testing.assert_allclose(chosen, squared.min(axis=1), atol=1e-4)
        left -= codebook[found.codes[:, level]]


def test_training_lowers_the_loss(vectors):
    """Few epochs against many: codes of longer training tell more of the vectors."""
    errors = []
    for epochs in (1, 60):
        found = ResidualQuantizedVae(epochs=epochs, **SMALL_VAE).quantize(vectors, 3, 16, seed=0)
        one_hot = np.concatenate([np.eye(16)[codes] for codes in found.codes.T], axis=1)
        weights = np.linalg.lstsq(one_hot, vectors, rcond=None)[0]
        errors.append(float(np.square(one_hot @ weights - vectors).mean()))
    assert errors[1] < 0.9 * errors[0]


def test_the_loss_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    model = ResidualQuantizedAutoencoder(perceptron([6, 5, 3]), perceptron([3, 5, 6]))
    books = [torch.randn(4, 3), torch.randn(4, 3)]
    model.codebooks.extend(books)
    batch = torch.randn(10, 6)
    loss, chosen = model.loss(batch, commitment=0.25, evenly=None)
    latents = model.encoder(batch)
    left, quantization = latents, 0.0
    for book, codes in zip(books, chosen, strict=True):
        assert codes.tolist() == torch.cdist(left, book).argmin(dim=1).tolist()
        left = left - book[codes]
        quantization += 1.25 * float((left**2).mean()) / 2
    decoded = model.decoder(latents - left)
    assert float(loss) == pytest.approx(float(((decoded - batch) ** 2).mean()) + quantization)


def test_the_gradient_passes_straight_through_to_the_encoder():
    torch.manual_seed(0)
    encoder = perceptron([6, 3])
    model = ResidualQuantizedAutoencoder(encoder, perceptron([3, 6]))
    model.codebooks.extend([torch.randn(4, 3)])
    batch = torch.randn(10, 6)
    loss, chosen = model.loss(batch, commitment=0.0, evenly=None)
    loss.backward()
    latents = model.encoder(batch).detach()
    rows = model.codebooks[0].detach()[chosen[0]].requires_grad_()
    torch.nn.functional.mse_loss(model.decoder(rows), batch).backward()
    expected = rows.grad.T @ batch
    found = next(encoder.parameters()).grad
    assert found is not None and torch.allclose(found, expected, atol=1e-6)
    towards = 2 * (model.codebooks[0].detach()[chosen[0]] - latents) / latents.numel()
    summed = torch.zeros(4, 3).index_add_(0, chosen[0], towards)
    assert torch.allclose(model.codebooks[0].grad, summed, atol=1e-6)


def test_codes_that_are_not_used_move_onto_residuals():
    model = ResidualQuantizedAutoencoder(torch.nn.Identity(), torch.nn.Identity())
    far = torch.full((3, 2), 1000.0)
    far[0] = 0.0
    model.codebooks.extend([far.clone(), far.clone()])
    batch = torch.randn(50, 2)
    used = [torch.tensor([True, False, False]), torch.tensor([True, True, False])]
    model.revive(used, batch, torch.Generator().manual_seed(0))
    first, second = (book.detach() for book in model.codebooks)
    assert torch.equal(first[0], far[0]) and torch.equal(second[:2], far[:2])
    for code in first[1:]:
        assert (batch == code).all(dim=1).any()
    left = batch - first[torch.cdist(batch, first).argmin(dim=1)]
    assert torch.isclose(left, second[2], atol=1e-6).all(dim=1).any()


def test_no_code_stays_dead(vectors):
    found = ResidualQuantizedVae(epochs=20, **SMALL_VAE).quantize(vectors, 3, 16, seed=0)
    assert [len(np.unique(codes)) for codes in found.codes.T] >= [14, 14, 14]


def test_even_assignment_uses_all_codes_alike():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(256, 4))).float()
    codebook = torch.from_numpy(rng.normal(size=(16, 4))).float()
    even = np.bincount(Evenly(0.003, 200)(points, codebook), minlength=16)
    greedy = np.bincount(torch.cdist(points, codebook).argmin(dim=1), minlength=16)
    assert even.min() >= 8 and even.max() <= 32
    assert even.std() < 0.5 * greedy.std()


def test_even_assignment_of_equal_or_distant_points_is_defined():
    codebook = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1000.0, 0.0]])
    equal = Evenly(0.003, 50)(torch.zeros(6, 2), codebook)
    assert equal.min() >= 0 and equal.max() < 3
    same = Evenly(0.003, 50)(torch.zeros(6, 2), torch.zeros(3, 2))
    assert same.min() >= 0 and same.max() < 3


def test_even_training_evens_the_last_level(vectors):
    spread = {}
    for epsilon in (0.0, 0.01):
        quantizer = ResidualQuantizedVae(epochs=30, sinkhorn_epsilon=epsilon, **SMALL_VAE)
        codes = quantizer.quantize(vectors, 2, 16, seed=0).codes[:, -1]
        spread[epsilon] = np.bincount(codes, minlength=16).std()
    assert spread[0.01] < spread[0.0]


def test_refinement_starts_as_the_identity():
    torch.manual_seed(0)
    batch = torch.randn(5, 7)
    assert torch.equal(Refinement([7, 3, 7])(batch), batch)


def test_rq_kmeans_plus_starts_at_residual_k_means_and_departs_from_it(vectors):
    points = kmeans.to_tensor(vectors, torch.device("cpu"))
    plain = kmeans.encode(vectors, fit_residual(points, 3, 16, iterations=20, seed=0))
    start = RefinedResidualKMeans(epochs=1, learning_rate=1e-12).quantize(vectors, 3, 16, seed=0)
    scale = np.sqrt(np.square(vectors).mean())
    np.testing.assert_allclose(start.vectors * scale, vectors, atol=1e-5)
    assert (start.codes == plain).mean() > 0.99
    trained = RefinedResidualKMeans(epochs=20, learning_rate=1e-3).quantize(vectors, 3, 16, seed=0)
    assert not np.allclose(trained.vectors * scale, vectors, atol=1e-2)
    assert explained(vectors, trained) > 0.9


def test_the_learning_rate_rises_and_falls():
    factor = _rise_and_fall(1000)
    assert factor(0) == pytest.approx(0.1)
    assert factor(9) == 1.0
    assert factor(505) == pytest.approx(0.5)
    assert 0 < factor(999) < 0.01
    assert _rise_and_fall(1)(0) == 1.0


def test_training_leaves_the_random_state_of_the_process_alone(vectors):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    ResidualQuantizedVae(epochs=1, **SMALL_VAE).quantize(vectors[:100], 2, 4, seed=0)
    assert torch.equal(torch.rand(2), expected)
