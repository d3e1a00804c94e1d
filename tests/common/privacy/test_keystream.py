"""The keystream is ChaCha20, in sequence, under a key that is fresh at every call and in every process."""

from __future__ import annotations

import numpy as np
import pytest

from common.privacy import keystream
from common.privacy.keystream import KEY_BYTES, Keystream


def test_keystream_is_chacha20() -> None:
    """RFC 8439, appendix A.1, test vectors 1 and 2: key, nonce and counter 0, then counter 1."""
    stream = Keystream(bytes(32))
    assert stream.take(16).hex() == "76b8e0ada0f13d90405d6ae55386bd28"
    stream.take(48)
    assert stream.take(16).hex() == "9f07e7be5551387a98ba977c732d080d"


def test_keystream_integers_are_its_bytes_in_sequence() -> None:
    numbers, raw = Keystream(b"k" * KEY_BYTES), Keystream(b"k" * KEY_BYTES)
    assert numbers.uint16(5).tolist() == np.frombuffer(raw.take(10), dtype="<u2").tolist()
    assert numbers.uint64(3).tolist() == np.frombuffer(raw.take(24), dtype="<u8").tolist()
    assert numbers.uint64(0).tolist() == []


def test_keystream_fresh_key_is_256_bits_of_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystream.os, "urandom", lambda size: bytes(range(size)))
    assert Keystream.fresh().take(64) == Keystream(bytes(range(32))).take(64)


def test_keystream_fresh_keys_differ() -> None:
    assert len({Keystream.fresh().take(16) for _ in range(1000)}) == 1000


def test_keystream_refuses_a_short_key() -> None:
    with pytest.raises(ValueError, match="key"):
        Keystream(b"short")
