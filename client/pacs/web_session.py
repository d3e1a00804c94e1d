"""An HTTP session that asks one archive and nobody else, and believes no more of an answer than is whole and bounded.

No redirect is followed, no proxy, password file or other setting of the environment is taken up, and a certificate is
checked always. The session checks each body while it comes: `dicomweb-client`, which reads it, takes a message that
breaks off for one that has ended, and holds an instance in memory however long it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from client.pacs.faults import ArchiveSilent
from client.pacs.landing import Landing
from common.errors import ConfigError

MOST_SECONDS = 3600.0
"""Longest that one answer may take, however slowly it drips."""

_MOST_SEARCH_BYTES = 64 << 20
"""Longest answer to a search that is read."""

_TAIL_BYTES = 512
"""How far from its end the last line of a multipart body may stand."""

Chunks = Callable[..., Iterator[bytes]]


class WebSession:
    """A session for one archive, to be closed.

    Args:
        login: User and password, or a token, or None.
        authority: Certificates to believe in place of the usual ones.

    Raises:
        ConfigError: There is no such file.
    """

    def __init__(self, *, login: tuple[str, str] | str | None = None, authority: Path | None = None) -> None:
        if authority is not None and not authority.is_file():
            raise ConfigError(f"{authority}: no such file; name the PEM file of the archive's certificate authority")
        self.requests = requests.Session()
        self.requests.trust_env = False
        self.requests.max_redirects = 0
        self.requests.verify = True if authority is None else str(authority)
        if isinstance(login, str):
            self.requests.headers["Authorization"] = f"Bearer {login}"
        else:
            self.requests.auth = login
        self.requests.headers["Accept-Encoding"] = "identity"  # a packed body could unpack to any length
        self.requests.hooks["response"].append(self._watch)
        self._answer: requests.Response | None = None

    def close(self) -> None:
        """Close every connection."""
        self.end_answer()
        self.requests.close()

    def end_answer(self) -> None:
        """Close the last answer, of which nobody may have read all."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _watch(self, response: requests.Response, *_: Any, **__: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        """A hook of requests: it comes before a body is read, by whichever way."""
        self._answer = response
        response.iter_content = _checked(response, response.iter_content)
        return response


def _checked(response: requests.Response, chunks: Chunks) -> Chunks:
    """The body in chunks, and an error where it is too long, too slow or breaks off."""
    kind = response.headers.get("Content-Type", "")
    marker, is_search = _marker(kind), "json" in kind.lower()

    def iter_content(*arguments: Any, **options: Any) -> Iterator[bytes]:  # noqa: ANN401 - requests' own
        ends = time.monotonic() + MOST_SECONDS
        part_bytes, tail = 0, b""
        for chunk in chunks(*arguments, **options):
            seen = tail + chunk
            at = seen.rfind(marker) if marker else -1
            part_bytes = part_bytes + len(chunk) if at < 0 else len(seen) - at
            Landing.check_bytes(part_bytes)
            if is_search and part_bytes > _MOST_SEARCH_BYTES:
                raise ConfigError(f"the archive answers a search with more than {_MOST_SEARCH_BYTES >> 20} MiB")
            if time.monotonic() > ends:
                raise ArchiveSilent("the archive's answer takes more than an hour")
            tail = seen[-_TAIL_BYTES:]
            yield chunk
        if marker and marker + b"--" not in tail:
            raise ArchiveSilent("the archive's answer broke off")

    return iter_content


def _marker(content_type: str) -> bytes:
    """What stands between the parts of a multipart body; nothing for another body."""
    kind, *attributes = (part.strip() for part in content_type.split(";"))
    for attribute in attributes if kind.lower() == "multipart/related" else ():
        name, _, value = attribute.partition("=")
        if name.lower() == "boundary":
            return b"--" + value.strip('"').encode()
    return b""
