"""Handles: what a study, and a patient, is called in an index.

A handle is a keyed digest (BLAKE2b, RFC 7693, 127 bits) of the study's identifier under a key that never leaves the
state folder. It says nothing of the study without the key, is the same as long as the key is, so that an index that is
built again answers for the same studies by the same handles, and is useless at another hospital, whose key is another.
Who holds the key and guesses an identifier can test the guess: the key is as private as the studies.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from common.errors import TrustError
from common.trust.key_files import read_private, write_private

HANDLE_BYTES = 16
_KEY_BYTES = 32
_HEX = re.compile(rf"[0-9a-f]{{{2 * HANDLE_BYTES}}}")


@dataclass(frozen=True)
class HandleKey:
    """Makes handles.

    Attributes:
        secret: The key.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def at(cls, path: Path) -> Self:
        """The key in a file that its owner alone can read; made where there is none.

        Raises:
            TrustError: It cannot be read or made, others could read it too, or it is no such key.
        """
        if not path.exists():
            write_private(path, secrets.token_bytes(_KEY_BYTES))
        secret = read_private(path, what="key of handles")
        if len(secret) != _KEY_BYTES:
            raise TrustError(f"{path}: is no key of {_KEY_BYTES} bytes; delete the folder, and index anew")
        return cls(secret)

    def of_study(self, study_id: str) -> bytes:
        """The handle of a study."""
        return self._digest(b"study", study_id.encode())

    def of_patient(self, patient_id: str) -> bytes:
        """What a patient is called; it leaves in no answer."""
        return self._digest(b"patient", patient_id.encode())

    def of_content(self, *digests: str) -> bytes:
        """What the images and the report of a study are called, to see whether they have changed."""
        return self._digest(b"content", "\n".join(digests).encode())

    def _digest(self, kind: bytes, text: bytes) -> bytes:
        found = hashlib.blake2b(text, key=self.secret, person=kind, digest_size=HANDLE_BYTES).digest()
        # NumPy's byte strings end before their last zeros, so no handle ends with one: 127 bits of it are the digest's.
        return found[:-1] + bytes([found[-1] | 1])


def handle_bytes(handle: str) -> bytes:
    """The bytes of a handle as it is written.

    Raises:
        TrustError: It is none: a path, a name or something cut short.
    """
    if not _HEX.fullmatch(handle):
        raise TrustError(f"a handle is {2 * HANDLE_BYTES} of 0-9 and a-f; copy it as it was shown")
    return bytes.fromhex(handle)
