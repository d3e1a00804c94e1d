"""One byte string for one JSON value, so that a digest means the same on every machine.

Keys sorted, no white space, UTF-8, finite numbers only: the subset of RFC 8785 that configs and records need
(keys sort by code point; numbers are written as Python's shortest round-trip form).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """The canonical bytes of a JSON value.

    Raises:
        ValueError: The value holds NaN or infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
