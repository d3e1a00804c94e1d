"""Codes: the hash head's real outputs cut to bits, eight to a byte, as they are stored, sent and searched.

Shapes: B batch, K bits, P bytes (P = K / 8). The first bit of a code is the highest bit of its first byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Codes: TypeAlias = NDArray[np.uint8]
"""Packed codes, `[B, P]`."""

LEAST_BITS = 48
MOST_BITS = 256


def check_bit_width(bit_width: int) -> None:
    """Refuse a bit width that codes cannot have.

    Raises:
        ConfigError: Not a multiple of 8, or outside 48 to 256.
    """
    if bit_width % 8 or not LEAST_BITS <= bit_width <= MOST_BITS:
        raise ConfigError(
            f"code.bit_width={bit_width}: must be a multiple of 8 from {LEAST_BITS} to {MOST_BITS}; try 64"
        )


def binarise(relaxed_BK: Tensor) -> Codes:
    """The packed codes of relaxed ones: a bit is 1 where its output is zero or more, as at inference.

    Args:
        relaxed_BK: Outputs of the hash head, `[B, K]`; detached and brought to the CPU here.

    Raises:
        ConfigError: K is no valid bit width.
        ValueError: An output is NaN, which has no sign.
    """
    check_bit_width(relaxed_BK.shape[1])
    if bool(relaxed_BK.isnan().any()):
        raise ValueError("relaxed codes hold NaN: the hash head's weights or its inputs are not finite")
    return np.packbits((relaxed_BK >= 0).cpu().numpy(), axis=1)


def unpack(codes_BP: Codes) -> NDArray[np.uint8]:
    """The bits of packed codes, `[B, K]` of 0 and 1; the inverse of the packing in `binarise`."""
    return np.unpackbits(codes_BP, axis=1)
