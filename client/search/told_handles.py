"""Handles as other hospitals are told them: they open here alone, for some days, and say nothing to anybody else.

A told handle is the day and the study's own handle, encrypted and authenticated under a key that never leaves the
hospital (AES-SIV, RFC 5297). On one day a study has one handle, so that an asker sees that two answers are of one
study; on the next it has another.
"""

from __future__ import annotations

import base64
import binascii
from datetime import date, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from common.errors import ConfigError, TrustError
from common.trust.key_files import read_private, write_private

KEY_FILE = "search_key"
_KEY_BITS = 512
_DAY_BYTES = 3


class ToldHandles:
    """Seals and opens handles.

    Args:
        key: The hospital's, of 64 bytes.
        days: How long a handle opens, the day on which it was told included.
    """

    def __init__(self, key: bytes, *, days: int) -> None:
        self._cipher = AESSIV(key)
        self._days = days

    def told(self, handle: str, *, today: date) -> str:
        """The handle of a study as it is told today."""
        day = today.toordinal().to_bytes(_DAY_BYTES, "big")
        sealed = self._cipher.encrypt(handle.encode(), [day])
        return base64.urlsafe_b64encode(day + sealed).decode().rstrip("=")

    def own(self, told: str, *, today: date) -> str:
        """The study's own handle in one that was told.

        Raises:
            ConfigError: It is no handle of this hospital, or older than it may be.
        """
        try:
            content = base64.b64decode(told + "=" * (-len(told) % 4), altchars=b"-_", validate=True)
            day, sealed = content[:_DAY_BYTES], content[_DAY_BYTES:]
            handle = self._cipher.decrypt(sealed, [day]).decode()
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise ConfigError(
                "the handle is none of this hospital: copy it whole, and open it at the hospital that it is of"
            ) from error
        age = today - date.fromordinal(int.from_bytes(day, "big"))
        if not timedelta(0) <= age < timedelta(days=self._days):
            raise ConfigError(
                f"the handle is {age.days} days old, and opens for {self._days}: have it searched for again, or raise "
                "search.handle_days"
            )
        return handle


def open_handles(state_folder: Path, *, days: int) -> ToldHandles:
    """What seals a hospital's handles; its key is made the first time.

    Raises:
        TrustError: The key cannot be read or written, or is damaged.
    """
    path = state_folder / KEY_FILE
    if not path.exists():
        write_private(path, AESSIV.generate_key(_KEY_BITS))
    key = read_private(path)
    if len(key) * 8 != _KEY_BITS:
        raise TrustError(f"{path}: is damaged; delete it, and handles that were told before open no more")
    return ToldHandles(key, days=days)
