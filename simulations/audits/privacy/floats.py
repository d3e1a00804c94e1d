"""Do floating-point numbers tell more of a sum than their values?

Which floats can come out of a noisy sum depends on what went in, where noise is made and added as floats (Mironov, CCS
2012, doi:10.1145/2382196.2382264): the low bits give the sum away. Production's noise and sums lie on a public grid.
Near zero a float of 24 bits shows each step of that grid, so a sum and its neighbour are noised many times, and every
value near zero must be a whole number of steps of the same grid. Noise that is added as floats is off it at once.

What no clipped sum can be (1e20 deviations, no number) must be refused, noise that was added once must not be added
again, and a sum too small for a float must be as good as none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from client.dp.grid_noise import grid_spacing
from client.dp.randomness import Randomness
from common.errors import CheckFailed
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_VALUES = 400_000
DEVIATION = 0.37
NEAR = 2.0**20
"""Steps from zero up to which a float of 24 bits is within 1/32 of a step of what it stands for."""
MOST_OFF = 1 / 16
LEAST_SEEN = 10
"""Values near zero, of about 46 that are expected: fewer say nothing. All of 10 floats are on the grid by chance with a
probability of 1e-9."""
SUMS = {"nothing": 0.0, "a third of a deviation": DEVIATION / 3, "a subnormal number": 1e-310}
REFUSED = {"1e20": 1e20, "no number": math.nan, "infinite": math.inf}


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Look at the low bits of noised sums, and at what must be refused."""
    with subject.sites(pipeline) as sites:
        randomness = sites[0].randomness(1)
    steps = {name: _steps_near_zero(randomness, value) for name, value in SUMS.items()}
    off = {name: float((near - near.round()).abs().max()) if len(near) else 0.0 for name, near in steps.items()}
    accepted = [name for name, value in REFUSED.items() if not _refuses(randomness, value)]
    accepted += [] if _refuses_twice(randomness) else ["noise that was added before"]
    worst, seen = max(off, key=lambda name: off[name]), min(len(near) for near in steps.values())
    on_grid = off[worst] <= MOST_OFF
    holds: bool | None = on_grid and not accepted
    if holds and seen < LEAST_SEEN:
        holds = None
    return Measured(
        holds=holds,
        sentence=(
            f"Of {NUM_VALUES:,} values noised from each of {len(SUMS)} sums, at least {seen} lie near zero; the "
            f"farthest from a step of the public grid is {off[worst]:.2f} steps off it (from {worst}), where "
            f"rounding allows {MOST_OFF:g}. "
            + (f"Not refused: {', '.join(accepted)}." if accepted else "What no sum can be is refused.")
        ),
        power="Noise that is made or added as floats is seen; the time that drawing takes is not looked at.",
    )


CHECK = Check(
    name="floats",
    question="Do the low bits of what leaves give away the sum below the noise?",
    claim="Noise is added as whole numbers on a public grid, so that no trace of the sum is left in the last digits.",
    measure=measure,
)


def _steps_near_zero(randomness: Randomness, value: float) -> Tensor:
    """Noised values in steps of the public grid, those that a float still resolves; float64."""
    total = torch.full((NUM_VALUES,), value, dtype=torch.float64)
    noised = randomness.noise(NUM_VALUES, standard_deviation=DEVIATION).added_to(total).double()
    steps = noised / grid_spacing(DEVIATION)
    return steps[steps.abs() < NEAR]


def _refuses(randomness: Randomness, value: float) -> bool:
    try:
        randomness.noise(1, standard_deviation=DEVIATION).added_to(torch.tensor([value], dtype=torch.float64))
    except CheckFailed:
        return True
    return False


def _refuses_twice(randomness: Randomness) -> bool:
    noise = randomness.noise(1, standard_deviation=DEVIATION)
    noise.added_to(torch.zeros(1))
    try:
        noise.added_to(torch.ones(1))
    except CheckFailed:
        return True
    return False
