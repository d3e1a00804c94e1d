"""What `agent.proxy` and `agent.proxy_login` take; a login is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.network.proxy import Proxy, check_proxy_url
from common.errors import ConfigError, TrustError

WORD = "open:sesame"  # a colon is allowed in a password


def login_file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "login"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("url", ["http://proxy:3128", "http://proxy.example.org:8080/", "http://[2001:db8::1]:3128"])
def test_address_of_a_proxy_passes(url: str) -> None:
    check_proxy_url(url)


@pytest.mark.parametrize(
    "url",
    ["proxy:3128", "http://proxy", "https://proxy:3128", "socks5://p:1", "http://p:99999", "http://p:1/x", "http://:1"],
)
def test_anything_else_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^agent\.proxy=.* write http://HOST:PORT$"):
        check_proxy_url(url)


def test_login_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"name it in agent\.proxy_login") as caught:
        check_proxy_url("http://user:sesame@proxy:3128")
    assert "sesame" not in str(caught.value)


def test_login_is_read_from_its_file_when_it_is_needed(tmp_path: Path) -> None:
    proxy = Proxy(url="http://proxy:3128", login_file=login_file(tmp_path, b"user:" + WORD.encode() + b"\n"))
    assert proxy.for_httpx().auth == ("user", WORD)
    login_file(tmp_path, b"user:changed")
    assert proxy.for_httpx().auth == ("user", "changed")
    assert "changed" not in repr(proxy) + repr(proxy.for_httpx())
    assert Proxy(url="http://proxy:3128").for_httpx().auth is None


@pytest.mark.parametrize("content", [b"", b"user", b":sesame", b"\xff:sesame", b"user:sesame\nmore"])
def test_file_that_is_no_login_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="write USER:PASSWORD") as caught:
        Proxy(url="http://proxy:3128", login_file=login_file(tmp_path, content)).for_httpx()
    assert str(tmp_path / "login") in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_login_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"others can read this .* chmod 600"):
        Proxy(url="http://proxy:3128", login_file=login_file(tmp_path, b"user:x", 0o640)).for_httpx()
