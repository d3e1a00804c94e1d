"""The way in through the hospital's reverse proxy, which knows its people: it names the user, and proves that it is it.

The proxy runs on this machine, for the page listens on loopback alone. With each request that it hands on it sends two
headers: the name of the user whom it let in, and a secret that it shares with the page. Without the secret the name
counts for nothing, so that no other program of this machine can ask in somebody's name. The proxy must set both headers
itself, whatever a browser sent, and hand on the Host that the browser named.

Fail closed: a header that comes twice, is empty, or holds more than one value lets nobody in. There is no cookie: who
is logged in is the proxy's business, at each request.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from client.page.door import FORBIDDEN, is_same
from client.policy.site_schema import PageAccess
from common.errors import ConfigError
from common.trust.key_files import read_private

LONGEST_NAME = 128
_SECRET = re.compile(r"[!-+\--~]{32,512}")
"""What a header can hold as it is; no comma, which parts values where a header was sent twice."""


class ThroughPortal:
    """Lets in whom the hospital's proxy names.

    Args:
        access: As the hospital configured it.

    Raises:
        ConfigError: The file holds no secret that is long enough.
        TrustError: It cannot be read, or others could read it too.
    """

    def __init__(self, access: PageAccess) -> None:
        path = Path(access.secret_file)
        secret = read_private(path, what="secret of the proxy").decode("latin-1").strip("\r\n")
        if not _SECRET.fullmatch(secret):
            raise ConfigError(
                f"{path}: holds no secret; write one line of 32 visible ASCII characters or more without a comma: "
                "openssl rand -hex 32"
            )
        self.origins = {urlsplit(access.address).netloc: access.address}
        self._access, self._secret = access, secret

    def admit(self, request: Request) -> str | Response:
        """See `WayIn`."""
        user = _only(request, self._access.user_header)
        # Both are always looked at, the secret first in time: a name is no way to learn of it.
        if not is_same(_only(request, self._access.secret_header), self._secret) or not _is_name(user):
            return PlainTextResponse(
                f"This page opens at {self._access.address}, through the hospital's proxy, for who is logged in there.",
                FORBIDDEN,
            )
        return user


def _only(request: Request, name: str) -> str:
    """The value of a header that came once, in UTF-8; else ""."""
    values = request.headers.getlist(name)
    if len(values) != 1:
        return ""
    try:
        return values[0].encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        return ""


def _is_name(user: str) -> bool:
    return 0 < len(user) <= LONGEST_NAME and user.isprintable() and "," not in user
