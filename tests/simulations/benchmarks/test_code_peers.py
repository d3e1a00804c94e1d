"""Peers of the codes: their losses beside plain loops, ITQ's turn, and that each learns what pairs have in common."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from torch import Tensor

from simulations.benchmarks.code_peers.djsrh import joint_affinity, reconstruction
from simulations.benchmarks.code_peers.interface import Fit, Pairs, epochs
from simulations.benchmarks.code_peers.linear import canonical_directions, fit_cca_itq, rotated_to_signs
from simulations.benchmarks.code_peers.ucch import against_memory, ranking
from simulations.benchmarks.codes import PEERS


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(first: Tensor, second: Tensor) -> float:
    return float(first @ second / (first.norm() * second.norm()))


def latent_pairs(number: int, *, seed: int) -> Pairs:
    """Images and reports that show the same eight hidden numbers through fixed maps, each with noise of its own."""
    hidden = drawn(number, 8, seed=seed)
    return Pairs(
        hidden @ drawn(8, 40, seed=100) + 0.3 * drawn(number, 40, seed=seed + 1),
        torch.tanh(hidden @ drawn(8, 30, seed=101)) + 0.1 * drawn(number, 30, seed=seed + 2),
    )


@pytest.mark.parametrize("name", PEERS)
def test_each_peer_finds_pairs_that_it_has_not_seen(name: str) -> None:
    """Chance is one tenth; a fit that mixed up modalities or rows would stay there."""
    fit: Fit = PEERS[name]
    of_image, of_report = fit(latent_pairs(150, seed=0), 64, torch.Generator().manual_seed(0))
    asked = latent_pairs(100, seed=10)
    image, report = torch.sign(of_image(asked.images)), torch.sign(of_report(asked.reports))
    similarity = image @ report.T
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
    assert float((rank < 10).double().mean()) > 0.5


def test_ranking_of_ucch_equals_loops() -> None:
    image, report = drawn(5, 16, seed=0), drawn(5, 16, seed=1)
    by_image, by_report = [], []
    for i in range(5):
        for j in range(5):
            if i != j:
                own = cosine(image[i], report[i])
                by_image.append(max(0.0, 0.2 + cosine(image[i], report[j]) - own))
                by_report.append(max(0.0, 0.2 + cosine(image[j], report[i]) - own))
    assert float(ranking(image, report)) == pytest.approx(np.mean(by_image) + np.mean(by_report), abs=1e-6)


def test_contrast_of_ucch_equals_loops() -> None:
    code, memory, rows = torch.tanh(drawn(3, 16, seed=2)), drawn(7, 16, seed=3), torch.tensor([4, 0, 6])
    expected = 0.0
    for one, own in zip(code, rows, strict=True):
        logits = [float(one @ torch.sign(entry)) / (0.9 * math.sqrt(16)) for entry in memory]
        expected -= logits[int(own)] - math.log(sum(math.exp(value) for value in logits))
    assert float(against_memory(code, memory, rows)) == pytest.approx(expected / 3, abs=1e-5)


def test_affinity_and_loss_of_djsrh_equal_loops() -> None:
    image, report = drawn(4, 6, seed=4), drawn(4, 5, seed=5)
    mixed = np.array(
        [[0.9 * cosine(image[i], image[j]) + 0.1 * cosine(report[i], report[j]) for j in range(4)] for i in range(4)]
    )
    expected = 0.6 * mixed + 0.4 * mixed @ mixed.T / 4
    np.testing.assert_allclose(joint_affinity(image, report).numpy(), expected, atol=1e-6)
    codes = [torch.nn.functional.normalize(drawn(4, 16, seed=seed), dim=1) for seed in (6, 7)]
    terms = {(a, b): np.mean((1.5 * expected - (codes[a] @ codes[b].T).numpy()) ** 2) for a in (0, 1) for b in (0, 1)}
    found = reconstruction(codes[0], codes[1], torch.from_numpy(expected).float())
    assert float(found) == pytest.approx(terms[0, 1] + 0.1 * (terms[0, 0] + terms[1, 1]), abs=1e-5)


def test_first_canonical_direction_is_that_of_scikit_learn() -> None:
    pairs = latent_pairs(2000, seed=20)
    standard = Pairs(*((x - x.mean(dim=0)) / x.std(dim=0) for x in pairs))
    image, report = canonical_directions(standard, num_directions=4)
    ours = np.corrcoef((standard.images @ image)[:, 0].numpy(), (standard.reports @ report)[:, 0].numpy())[0, 1]
    peer = CCA(n_components=1).fit_transform(standard.images.numpy(), standard.reports.numpy())
    # The regularised direction correlates a little less than the best one.
    assert np.corrcoef(peer[0][:, 0], peer[1][:, 0])[0, 1] - 0.02 < ours <= 1


@pytest.mark.parametrize(("dimensions", "bit_width"), [(64, 48), (24, 64)])
def test_itq_turns_towards_signs(dimensions: int, bit_width: int) -> None:
    space = drawn(400, dimensions, seed=8)
    turn = rotated_to_signs(space, bit_width, generator=torch.Generator().manual_seed(0))
    frame = turn.T @ turn if bit_width <= dimensions else turn @ turn.T
    torch.testing.assert_close(frame, torch.eye(min(dimensions, bit_width)), atol=1e-4, rtol=0)

    def lost(by: Tensor) -> float:
        turned = space @ by
        return float((torch.sign(turned) - turned).square().mean())

    start = torch.linalg.qr(drawn(max(dimensions, bit_width), max(dimensions, bit_width), seed=0))[0]
    assert lost(turn) < lost(start[:dimensions, :bit_width])


def test_itq_repeats_from_its_seed() -> None:
    pairs = latent_pairs(100, seed=30)
    first, second = (fit_cca_itq(pairs, 48, torch.Generator().manual_seed(1))[0](pairs.images) for _ in range(2))
    assert torch.equal(first, second)


def test_batches_visit_every_pair_once_an_epoch() -> None:
    seen = [(epoch, rows) for epoch, rows in epochs(10, num_epochs=2, batch_size=4, generator=torch.Generator())]
    for epoch in (0, 1):
        assert sorted(torch.cat([rows for number, rows in seen if number == epoch]).tolist()) == list(range(10))
