"""Seeds of everything that may be repeated: data splits, initial weights, public anchors, non-private batches.

Privacy noise and the sampling of patients under privacy are never seeded from here; see `client/dp/randomness.py`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for one named purpose, so that no two purposes share a random stream.

    Args:
        seed: The run's seed.
        *labels: Names of the purpose, for example `"batch", site, round_number`.
    """
    text = "\x1f".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *labels: str | int) -> torch.Generator:
    """A CPU generator for one named purpose."""
    import torch  # a second and more, which whoever draws with NumPy alone need not wait

    return torch.Generator().manual_seed(derive_seed(seed, *labels))


def numpy_generator(seed: int, *labels: str | int) -> np.random.Generator:
    """A NumPy generator for one named purpose."""
    return np.random.default_rng(derive_seed(seed, *labels))
