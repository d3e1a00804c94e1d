"""Names and hosts that may stand in a path, a certificate and on a terminal."""

from __future__ import annotations

import pytest

from common.trust.names import is_address, is_host, is_name, nearest_name


@pytest.mark.parametrize("name", ["hospital-1", "a", "0", "st_marys", "x" * 63])
def test_plain_name_is_one(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 64, "Hospital", "-a", "_a", "a b", "a/b", "..", "a.b", "é", "a\n", "a\x1b[2J", "\u0430"]
)
def test_name_that_is_not_plain_is_none(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("St. Mary & Sons", "st-mary-sons"),
        ("Ünïcode-Klinik", "unicode-klinik"),
        ("__x__", "x"),
        ("a_b-c", "a_b-c"),
        ("x" * 70, "x" * 63),
        ("北京", ""),
        ("..", ""),
    ],
)
def test_nearest_name_is_a_name_or_nothing(text: str, name: str) -> None:
    assert nearest_name(text) == name
    assert name == "" or is_name(name)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", False),
        ("server.example.org", False),
        ("xn--bcher-kva.example", False),
        ("10.example", False),
        ("192.0.2.7", True),
        ("2001:db8::1", True),
        ("::1", True),
    ],
)
def test_host_is_a_name_or_an_address(host: str, address: bool) -> None:  # noqa: FBT001 - a parameter
    assert is_host(host)
    assert is_address(host) is address


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "-a.org",
        "a-.org",
        "a_b.org",
        "Server.org",
        "a" * 64,
        "a." * 127 + "org",
        "192.0.2",
        "1.2.3.400",
        "192.0.2.7:80",
        "2001:DB8::1",
        "https://a.org",
        "a.org/",
        "*.a.org",
        "a.org\n",
    ],
)
def test_what_no_server_is_reached_by_is_no_host(host: str) -> None:
    assert not is_host(host)
