"""Noise that is looked up: known bits, the right distribution, nothing in common between keys."""

import numpy as np
import torch
from scipy import stats

from recllm.decoding.noise import gumbel, row_seeds, split_mix


def test_the_bits_are_those_of_splitmix64() -> None:
    # The first outputs that the generator is known by, for two seeds.
    known = {
        0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
        1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423],
    }
    for seed, expected in known.items():
        found = split_mix(torch.tensor(seed), torch.arange(3))
        assert [value % 2**64 for value in found.tolist()] == expected


def test_gumbel_noise_has_its_distribution_and_no_correlation() -> None:
    seeds = row_seeds(0, torch.arange(40), step=3)
    noise = gumbel(seeds, torch.arange(5000).expand(40, -1)).numpy()
    assert noise.dtype == np.float64 and np.isfinite(noise).all()
    assert stats.kstest(noise.ravel(), "gumbel_r").pvalue > 0.01
    between = np.corrcoef(np.concatenate([noise[:, :-1], noise[:, 1:]]))
    assert np.abs(between - np.eye(80)).max() < 5 / np.sqrt(5000)


def test_every_key_has_a_seed_of_its_own_and_always_the_same() -> None:
    rows = torch.arange(300)
    found = torch.stack([row_seeds(seed, rows, step) for seed in range(10) for step in range(10)])
    assert len(found.unique()) == found.numel()
    assert torch.equal(row_seeds(4, rows.flip(0), 7), found[47].flip(0))


def test_noise_is_looked_up_by_its_place() -> None:
    seeds, places = torch.tensor([5, -6]), torch.tensor([[3, 0, 9], [9, 9, 1]])
    noise = gumbel(seeds, places)
    for row in range(2):
        for column in range(3):
            alone = gumbel(seeds[row : row + 1], places[row : row + 1, column : column + 1])
            assert alone.item() == noise[row, column].item()
    assert noise[1, 0] == noise[1, 1]
    assert noise[0, 2] != noise[1, 0]
