"""Proxies that the environment names are followed by none of our processes, nor on loopback between them."""

from __future__ import annotations

import urllib.request

import httpx
import pytest

from common.service.quiet import QUIET
from tests.client.network.proxies import answering

NAMES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in NAMES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_proxy_of_the_environment_would_take_calls_of_this_machine_and_is_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as port:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}")
        for name, value in QUIET.items():
            monkeypatch.setenv(name, value)
        assert httpx.get(f"http://127.0.0.1:{port}").is_success
        assert urllib.request.proxy_bypass("server.example.org")
