"""Keys: files that only their owner reads, and signatures that hold for one message and one purpose."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from common.errors import TrustError
from common.trust.keys import SIGNATURE_BYTES, PublicKey, SigningKey


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "site_key.pem")


def private_pem(encryption: KeySerializationEncryption) -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_key_file_is_private_and_gives_the_same_key(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "site_key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert SigningKey.load(path).public == key.public
    assert [path.name for path in tmp_path.iterdir()] == ["site_key.pem"]


def test_key_file_in_a_new_folder_is_made(tmp_path: Path) -> None:
    SigningKey.create(tmp_path / "state" / "site_key.pem")
    assert (tmp_path / "state" / "site_key.pem").exists()


def test_two_keys_differ(tmp_path: Path, key: SigningKey) -> None:
    assert SigningKey.create(tmp_path / "other.pem").public != key.public


@pytest.mark.usefixtures("key")
def test_existing_key_is_never_written_over(tmp_path: Path) -> None:
    before = (tmp_path / "site_key.pem").read_bytes()
    with pytest.raises(TrustError, match=r"site_key\.pem: exists already"):
        SigningKey.create(tmp_path / "site_key.pem")
    assert (tmp_path / "site_key.pem").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_private_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "site_key.pem").chmod(mode)
    with pytest.raises(TrustError, match="chmod 600"):
        SigningKey.load(tmp_path / "site_key.pem")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        private_pem(NoEncryption())[:60],
        private_pem(BestAvailableEncryption(b"secret")),
        X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "text", "cut", "encrypted", "another kind"],
)
def test_file_without_an_ed25519_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TrustError, match=r"key\.pem: holds"):
        SigningKey.load(path)
    with pytest.raises(TrustError, match=r"key\.pem: holds no public key"):
        PublicKey.load(path)


def test_missing_key_is_one_line(tmp_path: Path) -> None:
    for load in (SigningKey.load, PublicKey.load):
        with pytest.raises(TrustError, match=r"none\.pem: cannot be read"):
            load(tmp_path / "none.pem")


def test_public_key_survives_pem_and_hexadecimal(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "public.pem").write_bytes(key.public.pem)
    assert PublicKey.load(tmp_path / "public.pem") == key.public == PublicKey.from_hex(key.public.hex)


def test_public_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = X25519PrivateKey.generate().public_key()
    (tmp_path / "x.pem").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(TrustError, match="another kind"):
        PublicKey.load(tmp_path / "x.pem")


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33])
def test_text_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(TrustError):
        PublicKey.from_hex(text)


def test_signature_holds_for_its_message_purpose_and_key_alone(tmp_path: Path, key: SigningKey) -> None:
    signature = key.sign(b"message", purpose="ledger head")
    assert len(signature) == SIGNATURE_BYTES
    key.public.verify(signature, b"message", purpose="ledger head")
    other = SigningKey.create(tmp_path / "other.pem").public
    wrong = [
        lambda: key.public.verify(signature, b"messagf", purpose="ledger head"),
        lambda: key.public.verify(signature, b"message", purpose="update"),
        lambda: key.public.verify(signature, b"head\0message", purpose="ledger"),
        lambda: key.public.verify(signature[:-1] + bytes([signature[-1] ^ 1]), b"message", purpose="ledger head"),
        lambda: key.public.verify(b"", b"message", purpose="ledger head"),
        lambda: other.verify(signature, b"message", purpose="ledger head"),
    ]
    for verify in wrong:
        with pytest.raises(TrustError, match="does not hold"):
            verify()


def test_signature_is_plain_ed25519_over_purpose_and_message(key: SigningKey) -> None:
    """What another tool has to check, without this library."""
    signature = key.sign(b"message", purpose="ledger head")
    plain = Ed25519PublicKey.from_public_bytes(key.public.raw)
    plain.verify(signature, b"wardround ledger head\0message")
    with pytest.raises(InvalidSignature):
        plain.verify(signature, b"message")
