"""DJSRH (Su, Zhong, Zhang: Deep Joint-Semantics Reconstructing Hashing, ICCV 2019).

    S~ = beta cos(images) + (1 - beta) cos(reports),   S = (1 - eta) S~ + eta S~ S~^T / m,
    loss = |mu S - cos(B_I, B_T)|^2 + lambda (|mu S - cos(B_I, B_I)|^2 + |mu S - cos(B_T, B_T)|^2)

over a batch of m pairs, B being tanh of growing sharpness.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from simulations.benchmarks.code_peers.interface import Pairs, ToCode, epochs, standardised
from simulations.benchmarks.code_peers.networks import CodeNetwork

BETA, ETA, MU, LAMBDA = 0.9, 0.4, 1.5, 0.1
EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 40, 32, 1e-3, 5e-4


def fit_djsrh(pairs: Pairs, bit_width: int, generator: torch.Generator) -> tuple[ToCode, ToCode]:
    """Train on the pairs; see `Fit`."""
    seen, image_standard, report_standard = standardised(pairs)
    image_net, report_net = (
        CodeNetwork(features.shape[1], bit_width, generator=generator) for features in (seen.images, seen.reports)
    )
    optimizer = torch.optim.AdamW(
        [*image_net.parameters(), *report_net.parameters()], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    for epoch, rows in epochs(len(seen.images), num_epochs=EPOCHS, batch_size=BATCH_SIZE, generator=generator):
        sharpness = (epoch + 1) ** 0.5
        image_BK = normalize(image_net(seen.images[rows], sharpness=sharpness), dim=1)
        report_BK = normalize(report_net(seen.reports[rows], sharpness=sharpness), dim=1)
        loss = reconstruction(image_BK, report_BK, joint_affinity(seen.images[rows], seen.reports[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (
        lambda features: image_net(image_standard(features)).detach(),
        lambda features: report_net(report_standard(features)).detach(),
    )


def joint_affinity(image_BF: Tensor, report_BF: Tensor) -> Tensor:
    """S `[B, B]`: how alike two pairs are by both modalities, and by whom else they are like."""
    image_BF, report_BF = normalize(image_BF, dim=1), normalize(report_BF, dim=1)
    mixed_BB = BETA * image_BF @ image_BF.T + (1 - BETA) * report_BF @ report_BF.T
    return (1 - ETA) * mixed_BB + ETA * mixed_BB @ mixed_BB.T / len(mixed_BB)


def reconstruction(image_BK: Tensor, report_BK: Tensor, affinity_BB: Tensor) -> Tensor:
    """The loss of unit codes against their affinity, as a mean over pairs."""
    target_BB = MU * affinity_BB
    across = (target_BB - image_BK @ report_BK.T).square().mean()
    within = (target_BB - image_BK @ image_BK.T).square().mean()
    within = within + (target_BB - report_BK @ report_BK.T).square().mean()
    return across + LAMBDA * within
