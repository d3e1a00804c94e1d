"""Signed JSON files: a body, and signatures of its canonical bytes, each for one purpose.

A body is a frozen dataclass of texts, whole numbers, dataclasses of the same kind and tuples of these; of a union of
dataclasses, the one with the keys that are there. What is read holds exactly its fields: a key too many, too few or of
another type is damage, or a newer version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from common.canonical import canonical_json
from common.errors import TrustError
from common.files import sha256_hex
from common.trust.keys import PublicKey, SigningKey

T = TypeVar("T")

MOST_BYTES = 1 << 24
"""Greatest size of a signed file: a file that a stranger sent is not read without end."""

SITE_OR_SERVER = "ed25519"
"""Name of an Ed25519 signature in a file."""


def seal(body: object, key: SigningKey, *, purpose: str) -> bytes:
    """The file that holds a body and the key's signature of it."""
    return written(body, {SITE_OR_SERVER: key.sign(body_bytes(body), purpose=purpose)})


def unseal(content: bytes, kind: type[T], key: PublicKey, *, purpose: str) -> T:
    """The body of a file that `seal` wrote with this key for this purpose.

    Raises:
        TrustError: The file is damaged, or signed with another key or for another purpose.
    """
    body, signatures = read_signed(content, kind)
    if set(signatures) != {SITE_OR_SERVER}:
        raise TrustError("does not carry the one signature that it must")
    key.verify(signatures[SITE_OR_SERVER], body_bytes(body), purpose=purpose)
    return body


def written(body: object, signatures: Mapping[str, bytes]) -> bytes:
    """A signed file, for people to read too."""
    signed = {name: signature.hex() for name, signature in signatures.items()}
    whole = {"body": _as_json(body), "signatures": signed}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_signed(content: bytes, kind: type[T]) -> tuple[T, dict[str, bytes]]:
    """Body and signatures of a file, the signatures not yet checked.

    Raises:
        TrustError: The file is damaged, or newer.
    """
    try:
        whole = json.loads(content)
        signatures = {str(name): bytes.fromhex(text) for name, text in whole.pop("signatures").items()}
        body = from_json(kind, whole.pop("body"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError("is not written as such a file is; it is damaged or newer") from error
    if whole:
        raise TrustError("holds more than it may; it is damaged or newer")
    return body, signatures


def body_bytes(body: object) -> bytes:
    """What is signed.

    Raises:
        TrustError: A text holds what UTF-8 cannot.
    """
    try:
        return canonical_json(_as_json(body))
    except ValueError as error:
        raise TrustError("holds a text that cannot be written") from error


def body_digest(body: object) -> str:
    """SHA-256 of what is signed, in hexadecimal: for people to compare."""
    return sha256_hex(body_bytes(body))


def read_file(path: Path) -> bytes:
    """Content of a signed file.

    Raises:
        TrustError: It cannot be read, or is larger than any is.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MOST_BYTES:
        raise TrustError(f"{path}: is larger than such a file is; it is damaged or something else")
    return content


def _as_json(body: object) -> dict[str, Any]:
    return asdict(cast("Any", body))


def from_json(kind: Any, value: Any) -> Any:  # noqa: ANN401 - any field's type, any JSON value
    """A value of a type such as a body may be of, from JSON.

    Raises:
        ValueError: It does not fit.
    """
    if get_origin(kind) is tuple:
        entry_kind, _ = get_args(kind)
        return tuple(from_json(entry_kind, entry) for entry in _only(list, value))
    if not is_dataclass(kind) and not isinstance(kind, UnionType):
        return _only(kind, value)
    for option in get_args(kind) or (kind,):
        hints = get_type_hints(option)
        if set(_only(dict, value)) == set(hints):
            return option(**{name: from_json(hint, value[name]) for name, hint in hints.items()})
    raise ValueError("other keys")


def _only(kind: type[T], value: object) -> T:
    if type(value) is not kind:
        raise ValueError("another type")
    return value
