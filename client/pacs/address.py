"""How an archive's address is written, and which addresses are refused."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from client.pacs.dimse import DimseAddress
from common.errors import ConfigError

_MOST_TITLE_CHARACTERS = 16


def check_url(url: str, *, plain: bool) -> None:
    """Check the address of an archive.

    Raises:
        ConfigError: It is none, holds a password, or is http to another machine and nobody said that this is known.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError("--dicomweb: not an address; write https://HOST/PATH") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError("--dicomweb: not an address; write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("--dicomweb: holds a login, which others can read; use --login FILE")
    if parts.query or parts.fragment:
        raise ConfigError("--dicomweb: holds a ? or #; write https://HOST/PATH alone")
    if parts.scheme == "http":
        check_line(host, plain=plain, option="--dicomweb", remedy="use https")


def check_line(host: str, *, plain: bool, option: str, remedy: str) -> None:
    """Check that an unencrypted line does not leave this machine, unless the hospital said that it may.

    Raises:
        ConfigError: It would.
    """
    if not plain and not _is_loopback(host):
        raise ConfigError(
            f"{option}: patients' data would come unencrypted; {remedy}, or give --plain where the network may see them"
        )


def dimse_address(aet: str, own_aet: str) -> DimseAddress:
    """The archive of `TITLE@HOST:PORT`, asked under our own title.

    Raises:
        ConfigError: It is of another form, or a title is none (DICOM PS3.5, 6.2).
    """
    title, at, rest = aet.partition("@")
    host, colon, port = rest.rpartition(":")
    if not (at and colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ConfigError("--aet: not an archive; write TITLE@HOST:PORT, for example PACS@10.1.2.3:104")
    for option, text in (("--aet", title), ("--own-aet", own_aet)):
        if not (text.strip() and text.isascii() and text.isprintable() and "\\" not in text) or (
            len(text) > _MOST_TITLE_CHARACTERS
        ):
            raise ConfigError(f"{option}: not an AE title; use 1 to {_MOST_TITLE_CHARACTERS} letters, digits, - and _")
    return DimseAddress(title=title, host=host.strip("[]"), port=int(port), own_title=own_aet)


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
