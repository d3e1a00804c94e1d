"""One request to the hospital's model endpoint, in which nothing that answers can do harm.

The address is looked up once, when the agent starts, and every request goes to what was found then: a name that later
points elsewhere (DNS rebinding) changes nothing. Only this machine and private networks (RFC 1918, RFC 4193) are
spoken to, unless the hospital allows public ones; never link-local ones, where clouds keep their secrets. No redirect
is followed and no proxy of the environment used. The whole reply, from connecting to its last byte, has one deadline;
it is read in pieces, ends at a limit of bytes, and is never unpacked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from common.errors import ConfigError, PlanError
from common.trust.key_files import read_private

MOST_REPLY_BYTES = 256 * 1024
"""Of an answer; one with a plan has less than 10 kB."""

_INSIDE = tuple(
    map(ipaddress.ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)
_PORTS = {"http": 80, "https": 443}
_OK = 200

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask, looked up and checked.

    Attributes:
        url: As the hospital wrote it, without a slash at the end.
        address: The address that every request goes to.
        key_file: File of mode 0600 with the endpoint's key; "" where it asks for none. It is read when it is needed.
        timeout_seconds: From connecting to the last byte of an answer.
    """

    url: str
    address: Address
    key_file: str = ""
    timeout_seconds: float

    def post(self, path: str, body: bytes) -> bytes:
        """The endpoint's answer to a JSON body.

        Raises:
            PlanError: It does not answer in time, or with something else than JSON of a fitting size.
            TrustError: The key's file cannot be read, or others could read it too.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self.key_file:
            headers["Authorization"] = f"Bearer {_read_key(Path(self.key_file))}"
        # In a thread of its own, as whoever calls may stand in an event loop already.
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(asyncio.run, self._post(path, body, headers)).result()

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        try:
            async with asyncio.timeout(self.timeout_seconds), self._client() as client:
                parts = urlsplit(self.url)
                pinned = f"[{self.address}]" if self.address.version == 6 else str(self.address)
                async with client.stream(
                    "POST",
                    f"{parts.scheme}://{pinned}:{parts.port or _PORTS[parts.scheme]}{parts.path}{path}",
                    content=body,
                    headers={**headers, "Host": parts.netloc},
                    extensions={"sni_hostname": parts.hostname},
                ) as reply:
                    return await _read(reply)
        except TimeoutError as error:
            raise PlanError(f"the language model did not answer within {self.timeout_seconds:g} seconds") from error
        except httpx.HTTPError as error:
            raise PlanError("the language model's endpoint cannot be reached, or answers with no HTTP") from error

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=ssl.create_default_context(), trust_env=False),
            timeout=self.timeout_seconds,
            trust_env=False,
            follow_redirects=False,
        )


async def _read(reply: httpx.Response) -> bytes:
    if reply.is_redirect:
        raise PlanError("the language model's endpoint sends elsewhere; no redirect is followed")
    if reply.status_code != _OK:
        raise PlanError(f"the language model's endpoint answers with status {reply.status_code}")
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise PlanError("the language model's endpoint packs its answer; packed ones are not opened")
    if reply.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise PlanError("the language model's endpoint answers with something else than JSON")
    content = bytearray()
    async for chunk in reply.aiter_raw():
        content += chunk
        if len(content) > MOST_REPLY_BYTES:
            raise PlanError(f"the language model's answer has more than {MOST_REPLY_BYTES // 1024} kB")
    return bytes(content)


def endpoint_of(url: str, *, key_file: str, timeout_seconds: float, allow_public: bool) -> Endpoint:
    """The endpoint of an address, looked up now and once.

    Raises:
        ConfigError: The address is none, is not found, or is one that may not be spoken to.
    """
    check_url(url)
    parts = urlsplit(url)
    addresses = _looked_up(url)
    inside = all(any(address in network for network in _INSIDE) for address in addresses)
    if not inside and not (allow_public and all(address.is_global for address in addresses)):
        raise ConfigError(
            f"mediator.endpoint={url}: is neither this machine nor in a private network; clinicians' words would "
            "leave the hospital; give another, or have mediator.allow_public allow it"
        )
    if not inside and parts.scheme != "https":
        raise ConfigError(f"mediator.endpoint={url}: is public and not encrypted; write https://")
    return Endpoint(url=url.rstrip("/"), address=addresses[0], key_file=key_file, timeout_seconds=timeout_seconds)


def check_url(url: str) -> None:
    """Return where this is an address such as `http://127.0.0.1:8000/v1`.

    Raises:
        ConfigError: It is not.
    """
    try:
        parts = urlsplit(url)
        whole = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or too large
        whole = False
    else:
        if "@" in parts.netloc:
            raise ConfigError(
                "mediator.endpoint: holds a user or a password; write the endpoint's key into a file of mode 0600, and "
                "name it in mediator.key_file"
            )
        whole = whole and not (parts.query or parts.fragment) and url.isascii() and url.isprintable() and " " not in url
    if not whole:
        raise ConfigError(f"mediator.endpoint={url}: is no address of an endpoint; write http://HOST:PORT/v1")


def _looked_up(url: str) -> list[Address]:
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"mediator.endpoint={url}: the name is not found; correct it, or ask who runs it") from error
    return [_plain(ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])) for *_, sockaddr in found]


def _plain(address: Address) -> Address:
    """An IPv4 address in IPv6's clothes as itself."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _read_key(path: Path) -> str:
    key = read_private(path, what="key").decode("ascii", errors="replace").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(f"{path}: is no key of an endpoint; write it in one line")
    return key
