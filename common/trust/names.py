"""Names and hosts: plain, so that they can stand in a path, a certificate, a config and on a terminal as they are."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

_MOST_CHARACTERS = 63
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{_MOST_CHARACTERS - 1}}}")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_MOST_HOST_CHARACTERS = 253

NAME_RULE = "use up to 63 of a-z, 0-9, - and _, a letter or digit first"
HOST_RULE = "use a name such as server.example.org in lower case, or an IP address"


def is_name(text: str) -> bool:
    """Whether a site or a consortium may be called so."""
    return _NAME.fullmatch(text) is not None


def nearest_name(text: str) -> str:
    """What comes nearest to a text and may be a name, such as st-mary-s for "St. Mary's"; "" where nothing does."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:_MOST_CHARACTERS]


def is_address(text: str) -> bool:
    """Whether a host is an IP address, written the usual way."""
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether a server may be reached by this: an IP address, or a name of DNS (RFC 1123)."""
    labels = text.split(".")
    a_name = len(text) <= _MOST_HOST_CHARACTERS and all(_LABEL.fullmatch(label) for label in labels)
    return is_address(text) or (a_name and not labels[-1].isdigit())
