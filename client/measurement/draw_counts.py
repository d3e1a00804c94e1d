"""Draws the noise of a site's counts; the ledger was charged for it before."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from client.dp.grid_noise import OWN_ALONE
from client.dp.round_noise import RoundNoise
from client.site import Site
from common.errors import LedgerError
from common.privacy.count_noise import UNITS, CountNoise, LaplaceCountNoise


def drawn(
    site: Site,
    exact: NDArray[np.int64],
    noise: CountNoise,
    *,
    round_number: int,
    round_noise: RoundNoise | None,
) -> NDArray[np.float64]:
    """The counts with noise, in patients, in the form of the exact ones.

    Args:
        site: Whose they are.
        exact: In `UNITS` a patient.
        noise: Of what law.
        round_number: The round.
        round_noise: What other sites share of it; None where all of it is the site's own.

    Raises:
        LedgerError: The noise is to be shared, and with whom was not said.
    """
    if isinstance(noise, LaplaceCountNoise):
        return noise.laplace.noised(exact) / UNITS
    if noise.is_shared != (round_noise is not None):
        raise LedgerError(f"{site.name}: the noise of its counts is to be shared, and with whom was not said")
    parts = OWN_ALONE if round_noise is None else round_noise.next_step()
    drawn_noise = site.randomness(round_number).noise(exact.size, standard_deviation=noise.deviation, parts=parts)
    return drawn_noise.added_to(torch.from_numpy(exact)).numpy().astype(np.float64) / UNITS
