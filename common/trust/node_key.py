"""Flower's node key: NIST P-384 in OpenSSH form without a passphrase, as `ssh-keygen -t ecdsa -b 384 -N ""` makes it.

`flower-supernode --auth-supernode-private-key` reads the private file, `flwr supernode register` the public line. The
key also signs a site's request to join, so that no one can ask for the admission of a key that they do not hold.
ECDSA over SHA-384 (FIPS 186-5); what is signed begins with a purpose, as with `common/trust/keys.py`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from common.errors import TrustError
from common.trust.key_files import read_private, write_private

_ALGORITHM = ec.ECDSA(SHA384())


@dataclass(frozen=True)
class NodePublicKey:
    """Checks a node key's signatures.

    Attributes:
        openssh: The key as one line of OpenSSH, without a comment.

    Raises:
        TrustError: The line is no P-384 key, or not the one way in which it is written.
    """

    openssh: str

    def __post_init__(self) -> None:
        if _openssh_of(self._key) != self.openssh:
            raise TrustError("a node key is not written as OpenSSH writes it, without a comment")

    @property
    def _key(self) -> ec.EllipticCurvePublicKey:
        try:
            key = load_ssh_public_key(self.openssh.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TrustError("a node key is no public key in OpenSSH form") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise TrustError("a node key is of another kind than NIST P-384")
        return key

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and base64, as `ssh-keygen -l` shows it."""
        blob = base64.b64decode(self.openssh.split(" ")[1])
        return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    def verify(self, signature: bytes, message: bytes, *, purpose: str) -> None:
        """Return where the signature is this key's, of this message, for this purpose.

        Raises:
            TrustError: It is not.
        """
        try:
            self._key.verify(signature, _signed(message, purpose), _ALGORITHM)
        except InvalidSignature as error:
            raise TrustError(f"the node key's signature of a {purpose} does not hold") from error


class NodeKey:
    """A site's node key. Made by `create` or `load`; nothing of the private part is shown.

    Attributes:
        public: The key that checks its signatures.
    """

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public = NodePublicKey(_openssh_of(private.public_key()))

    @classmethod
    def create(cls, path: Path) -> NodeKey:
        """A new key, on the disk before it is returned.

        Raises:
            TrustError: There is a file already, which is left alone, or none can be written.
        """
        key = ec.generate_private_key(ec.SECP384R1())
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> NodeKey:
        """The key in a file that its owner alone can read.

        Raises:
            TrustError: The file cannot be read, others could read it too, or it holds no P-384 key.
        """
        content = read_private(path)
        try:
            key = load_ssh_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TrustError(f"{path}: holds no private key in OpenSSH form without a passphrase") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
            raise TrustError(f"{path}: holds a private key of another kind than NIST P-384")
        return cls(key)

    def sign(self, message: bytes, *, purpose: str) -> bytes:
        """Signature in DER; another one each time."""
        return self._private.sign(_signed(message, purpose), _ALGORITHM)


def _openssh_of(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _signed(message: bytes, purpose: str) -> bytes:
    return b"wardround " + purpose.encode() + b"\0" + message
