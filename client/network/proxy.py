"""The hospital's HTTP proxy, as `site.yaml` names it; its user and password lie in a file of mode 0600 alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from common.errors import ConfigError
from common.trust.key_files import read_private


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """What takes CONNECT to the server.

    Attributes:
        url: `http://HOST:PORT`.
        login_file: Path of the file that holds `USER:PASSWORD`; "" where the proxy asks for none. It is read when it is
            needed, and its content kept nowhere else.
    """

    url: str
    login_file: str = ""

    def for_httpx(self) -> httpx.Proxy:
        """The same for httpx, with the login as it is now.

        Raises:
            ConfigError: The file holds something else.
            TrustError: It cannot be read, or others could read it too.
        """
        return httpx.Proxy(self.url, auth=_read_login(Path(self.login_file)) if self.login_file else None)


def check_proxy_url(url: str) -> None:
    """Return where this is an HTTP proxy's address and nothing else.

    Raises:
        ConfigError: It is not.
    """
    try:
        parts = urlsplit(url)
        whole = parts.scheme == "http" and bool(parts.hostname) and parts.port is not None
    except ValueError:  # the port is no number, or too large
        whole = False
    else:
        if "@" in parts.netloc:
            raise ConfigError(
                "agent.proxy: holds a user or a password; write them into a file of mode 0600, as USER:PASSWORD, and "
                "name it in agent.proxy_login"
            )
        whole = whole and url.removesuffix("/") == f"http://{parts.netloc}"
    if not whole:
        raise ConfigError(f"agent.proxy={url}: is no HTTP proxy; write http://HOST:PORT")


def _read_login(path: Path) -> tuple[str, str]:
    try:
        user, colon, password = read_private(path).decode().strip("\r\n").partition(":")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8; write USER:PASSWORD") from error
    if not (user and colon) or any(ord(character) < ord(" ") for character in user + password):
        raise ConfigError(f"{path}: is no login of a proxy; write USER:PASSWORD, in one line")
    return user, password
