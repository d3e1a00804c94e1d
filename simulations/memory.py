"""Memory of a simulation: what one round frees, the next one uses.

A round allocates and frees the updates of all sites. The GNU C library gives such memory back to the system at once,
and the system clears each page when it is asked for anew: at 8 sites of 1M values that was a third of a round's
processor time.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
_MOST_KEPT_BYTES = 2**31 - 1
_LARGEST_KEPT_BYTES = 2**25
"""The largest value that the library takes on a 64-bit system; a larger block comes from the system each time."""


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, so that its peak is its size from then on.

    Another C library than GNU's does what it always does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
    mallopt(_TRIM_THRESHOLD, _MOST_KEPT_BYTES)
