"""Random integers that nobody can repeat: a ChaCha20 keystream under a key of the operating system's entropy.

One key serves one draw, is held in memory only and is never derived from anything that stands in a config. Whoever
sees all values but one of a draw cannot tell that one from chance, short of breaking the cipher.

A key yields 2^32 blocks of 64 bytes, 256 GiB, and the cipher refuses to go on after them. The largest draw, the noise
of a step, takes 12 bytes a parameter.

Source: Nir and Langley, RFC 8439, section 2.4; the cipher is that of `cryptography` (OpenSSL).
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

KEY_BYTES = 32
_FROM_THE_FIRST_BLOCK = bytes(16)
"""Counter and nonce. A fixed nonce is sound, for no key is used for a second stream."""


class Keystream:
    """Independent uniform integers from one key, in sequence.

    Args:
        key: 256 bits. Under privacy always `Keystream.fresh()`; a key of one's own repeats the stream, for tests.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.ChaCha20(key, _FROM_THE_FIRST_BLOCK), mode=None).encryptor()

    @classmethod
    def fresh(cls) -> Keystream:
        """A stream that has never been and will never be again: 256 bits of `os.urandom`, in a forked process too."""
        return cls(os.urandom(KEY_BYTES))

    def uint16(self, count: int) -> npt.NDArray[np.uint16]:
        """Integers below 2^16, uniform and independent, `[count]`."""
        return np.frombuffer(self.take(2 * count), dtype="<u2")

    def uint64(self, count: int) -> npt.NDArray[np.uint64]:
        """Integers below 2^64, uniform and independent, `[count]`."""
        return np.frombuffer(self.take(8 * count), dtype="<u8")

    def take(self, num_bytes: int) -> bytes:
        """The next bytes of the stream."""
        return self._cipher.update(bytes(num_bytes))
