"""Ed25519 keys (RFC 8032) in PEM files, and signatures that say what they are for.

A private key is a PKCS #8 file that its owner alone can read. It is not encrypted: a site starts without a person
beside it, so the key is as safe as the folder it lies in. What is signed begins with a purpose, so that a signature
made for one thing never passes for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from common.errors import TrustError
from common.trust.key_files import read_private, write_private

SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class PublicKey:
    """Checks signatures.

    Attributes:
        raw: The key's 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw)
        except ValueError as error:
            raise TrustError("a public key is not 32 bytes long") from error

    @classmethod
    def from_hex(cls, text: str) -> PublicKey:
        """The key that `hex` wrote.

        Raises:
            TrustError: The text is no key.
        """
        try:
            return cls(bytes.fromhex(text))
        except ValueError as error:
            raise TrustError("a public key is not hexadecimal") from error

    @classmethod
    def load(cls, path: Path) -> PublicKey:
        """The key in a PEM file.

        Raises:
            TrustError: The file cannot be read, or holds no Ed25519 public key.
        """
        try:
            key = load_pem_public_key(_content(path))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TrustError(f"{path}: holds no public key in PEM form") from error
        if not isinstance(key, Ed25519PublicKey):
            raise TrustError(f"{path}: holds a public key of another kind than Ed25519")
        return cls(key.public_bytes_raw())

    @property
    def hex(self) -> str:
        """The key in hexadecimal."""
        return self.raw.hex()

    @property
    def pem(self) -> bytes:
        """The key as a PEM file."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, message: bytes, *, purpose: str) -> None:
        """Return where the signature is this key's, of this message, for this purpose.

        Raises:
            TrustError: It is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _signed(message, purpose))
        except InvalidSignature as error:
            raise TrustError(f"the signature of a {purpose} does not hold") from error


class SigningKey:
    """Signs. Made by `create` or `load`; nothing of the private part is shown.

    Attributes:
        public: The key that checks its signatures.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key().public_bytes_raw())

    @classmethod
    def fresh(cls) -> SigningKey:
        """A new key, in memory alone."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """A new key, on the disk before it is returned.

        Raises:
            TrustError: There is a file already, which is left alone, or none can be written.
        """
        key = Ed25519PrivateKey.generate()
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """The key in a file that its owner alone can read.

        Raises:
            TrustError: The file cannot be read, others could read it too, or it holds no Ed25519 key.
        """
        content = read_private(path)
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TrustError(f"{path}: holds no private key in PEM form without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError(f"{path}: holds a private key of another kind than Ed25519")
        return cls(key)

    def sign(self, message: bytes, *, purpose: str) -> bytes:
        """Signature of `SIGNATURE_BYTES` bytes; the same message always gives the same one."""
        return self._private.sign(_signed(message, purpose))


def _signed(message: bytes, purpose: str) -> bytes:
    return b"wardround " + purpose.encode() + b"\0" + message


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror})") from error
