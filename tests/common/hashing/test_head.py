"""The hash head: codes keep angles, centres stand apart, prototypes are the means of clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import Tensor
from torch.nn.functional import normalize

from common.hashing.head import HashHead, hadamard_centres, nearest_centres, spherical_clusters


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=generator(seed)), dim=-1)


def head(embedding_dim: int = 32, bit_width: int = 128) -> HashHead:
    return HashHead(embedding_dim=embedding_dim, bit_width=bit_width, num_centres=8, generator=generator())


@pytest.mark.parametrize(("bit_width", "num_centres"), [(64, 8), (64, 63), (128, 127), (256, 32)])
def test_centres_of_whole_rows_differ_in_half_the_bits(bit_width: int, num_centres: int) -> None:
    centres = hadamard_centres(num_centres, bit_width)
    differ = (centres[:, None] != centres[None]).sum(-1)
    off_diagonal = differ[~torch.eye(num_centres, dtype=torch.bool)]
    assert (off_diagonal == bit_width // 2).all()
    assert (centres.sum(dim=1) == 0).all()


def test_centres_are_rows_of_sylvesters_matrix() -> None:
    np.testing.assert_array_equal(hadamard_centres(20, 64).numpy(), hadamard(64)[1:21])
    np.testing.assert_array_equal(hadamard_centres(20, 48).numpy(), hadamard(64)[1:21, :48])


@pytest.mark.parametrize("bit_width", [48, 56, 72, 96, 200])
def test_centres_of_cut_rows_stay_distinct(bit_width: int) -> None:
    centres = hadamard_centres(bit_width - 1, bit_width)
    assert len({tuple(row.tolist()) for row in centres}) == bit_width - 1


def test_codes_at_the_start_keep_angles() -> None:
    """Hamming share against angle over pi, for 200 pairs: correlation above 0.95, mean error below 0.02."""
    first, second = unit(200, 32, seed=1), unit(200, 32, seed=2)
    second = normalize(first * torch.linspace(-1, 1, 200)[:, None] + 0.5 * second, dim=-1)
    with torch.no_grad():
        differ = ((head()(first) >= 0) != (head()(second) >= 0)).double().mean(dim=1)
    angle = torch.arccos((first * second).sum(dim=1).clamp(-1, 1)).double() / torch.pi
    assert torch.corrcoef(torch.stack([differ, angle]))[0, 1] > 0.95
    assert (differ - angle).mean().abs() < 0.02


@pytest.mark.parametrize(("embedding_dim", "bit_width"), [(32, 128), (128, 48), (64, 64)])
def test_start_is_a_tight_frame(embedding_dim: int, bit_width: int) -> None:
    weight = head(embedding_dim, bit_width).weight.detach()
    gram = weight.T @ weight if bit_width >= embedding_dim else weight @ weight.T
    torch.testing.assert_close(gram / gram[0, 0], torch.eye(len(gram)), rtol=0, atol=1e-5)


def test_start_comes_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = head().weight
    torch.manual_seed(2)
    assert torch.equal(first, head().weight)


def test_clusters_find_separated_groups() -> None:
    axes = torch.eye(8)[:3]
    points = normalize(axes.repeat_interleave(30, dim=0) + 0.05 * torch.randn(90, 8, generator=generator()), dim=-1)
    starts = [spherical_clusters(points, 3, generator=generator(seed)) for seed in range(10)]
    best = max(starts, key=lambda means: float((points @ means.T).max(dim=1).values.sum()))
    assert ((best @ axes.T).max(dim=0).values > 0.99).all()
    torch.testing.assert_close(best.norm(dim=1), torch.ones(3))


def test_clusters_rest_at_their_own_means() -> None:
    points = unit(60, 8, seed=3)
    means = spherical_clusters(points, 4, generator=generator(), num_rounds=200)
    nearest = (points @ means.T).argmax(dim=1)
    for number, mean in enumerate(means):
        torch.testing.assert_close(mean, normalize(points[nearest == number].sum(dim=0), dim=0))


def test_clusters_more_than_points_stay_finite() -> None:
    assert spherical_clusters(unit(3, 8), 10, generator=generator()).isfinite().all()


def test_set_prototypes_fills_the_buffer() -> None:
    found, points = head(), unit(50, 32, seed=4)
    found.set_prototypes(points, generator=generator())
    torch.testing.assert_close(found.prototypes, spherical_clusters(points, 8, generator=generator()))


def test_nearest_centre_is_that_of_the_nearest_prototype() -> None:
    prototypes, centres = unit(5, 8, seed=5), hadamard_centres(5, 64)
    embedding = (prototypes[[3, 0, 4]] * 2).requires_grad_()
    found = nearest_centres(embedding, prototypes, centres)
    assert torch.equal(found, centres[[3, 0, 4]])
    assert not found.requires_grad
