"""UCCH (Hu, Zhu, Lin, Peng, Peng: Unsupervised Contrastive Cross-Modal Hashing, TPAMI 2023).

    loss = a contrast + (1 - a) ranking,  a = 0.7

- contrast: noise-contrastive, of each code against the signs of a memory, one entry a pair, which follows both
  modalities with a momentum. The sum over the memory is taken whole, where the paper samples 4,096 entries of it.
- ranking: each pair's two codes are nearer to each other than to other pairs' by a margin, over all pairs of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from simulations.benchmarks.code_peers.interface import Pairs, ToCode, epochs, standardised
from simulations.benchmarks.code_peers.networks import CodeNetwork

CONTRAST_SHARE, MARGIN, MEMORY_MOMENTUM, TEMPERATURE = 0.7, 0.2, 0.4, 0.9
EPOCHS, BATCH_SIZE, WEIGHT_DECAY = 100, 256, 1e-6
LEARNING_RATE = 1e-3
"""Ten times the paper's, which serves about ten times as many steps; the two rates were not compared here."""


def fit_ucch(pairs: Pairs, bit_width: int, generator: torch.Generator) -> tuple[ToCode, ToCode]:
    """Train on the pairs; see `Fit`."""
    seen, image_standard, report_standard = standardised(pairs)
    image_net, report_net = (
        CodeNetwork(features.shape[1], bit_width, generator=generator) for features in (seen.images, seen.reports)
    )
    optimizer = torch.optim.Adam(
        [*image_net.parameters(), *report_net.parameters()], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    memory_NK = normalize(torch.randn(len(seen.images), bit_width, generator=generator), dim=1)
    for _, rows in epochs(len(memory_NK), num_epochs=EPOCHS, batch_size=BATCH_SIZE, generator=generator):
        image_BK, report_BK = image_net(seen.images[rows]), report_net(seen.reports[rows])
        contrast = against_memory(image_BK, memory_NK, rows) + against_memory(report_BK, memory_NK, rows)
        loss = CONTRAST_SHARE * contrast + (1 - CONTRAST_SHARE) * ranking(image_BK, report_BK)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            both_BK = normalize(image_BK + report_BK, dim=1)
            memory_NK[rows] = normalize(MEMORY_MOMENTUM * memory_NK[rows] + (1 - MEMORY_MOMENTUM) * both_BK, dim=1)
    return (
        lambda features: image_net(image_standard(features)).detach(),
        lambda features: report_net(report_standard(features)).detach(),
    )


def against_memory(code_BK: Tensor, memory_NK: Tensor, rows: Tensor) -> Tensor:
    """Mean negative log-probability that each code picks its own pair's memory among all."""
    similarity_BN = code_BK @ torch.sign(memory_NK).T / memory_NK.shape[1] ** 0.5
    return cross_entropy(similarity_BN / TEMPERATURE, rows)


def ranking(image_BK: Tensor, report_BK: Tensor) -> Tensor:
    """Mean hinge of each wrong pairing that comes within the margin of the right one, in both directions."""
    similarity_BB = normalize(image_BK, dim=1) @ normalize(report_BK, dim=1).T
    own_B = similarity_BB.diagonal()
    both_BB = (MARGIN + similarity_BB - own_B[:, None]).clamp(min=0) + (MARGIN + similarity_BB - own_B).clamp(min=0)
    count = len(own_B)
    # On the diagonal stands the margin itself, in both directions.
    return (both_BB.sum() - 2 * MARGIN * count) / (count * (count - 1))
