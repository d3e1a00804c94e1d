"""Through the hospital's proxy: whom it names with the secret is let in, under that name, and nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from client.page.app import Page
from client.page.asked_list import ASKED_FILE
from client.page.portal import LONGEST_NAME, ThroughPortal
from client.policy.site_schema import PageAccess, SiteConfig
from common.errors import ConfigError, TrustError
from tests.client.page.conftest import ORIGIN, PORT, Browser, words_of

ADDRESS = "https://search.north.example"
SECRET = "0123456789abcdef" * 4
USER, PROOF = "X-Remote-User", "X-Wardround-Secret"

Headers = list[tuple[str, str | bytes]]


def named(user: str | bytes, secret: str = SECRET) -> Headers:
    return [(USER, user), (PROOF, secret)]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def come(page_of: Callable[[], Page], secret_file: Path) -> Callable[[Headers], Browser]:
    """A browser behind the proxy, that sends such headers."""
    page, way = page_of(), ThroughPortal(PageAccess(address=ADDRESS, secret_file=str(secret_file)))
    return lambda headers: Browser(page, way, origin=ADDRESS, headers=headers)


def test_named_user_searches_under_that_name(come: Callable[[Headers], Browser], site: SiteConfig) -> None:
    browser = come(named("anna.berg"))
    empty = browser.get("/")
    assert empty.status_code == 200
    assert "anna.berg" in words_of(empty)
    assert "set-cookie" not in empty.headers, "who is logged in is the proxy's business"
    assert browser.post({"text": "report 3", "alone": "on"}).status_code == 200
    (line,) = (json.loads(line) for line in (site.state_folder / ASKED_FILE).read_text().splitlines())
    assert (line["who"], line["what"]) == ("anna.berg", "search")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([(USER, "anna")], id="name without secret"),
        pytest.param([(PROOF, SECRET)], id="secret without name"),
        pytest.param(named("anna", ""), id="empty secret"),
        pytest.param(named("anna", "x" * 64), id="forged secret"),
        pytest.param(named("anna", SECRET[:-1]), id="cut secret"),
        pytest.param(named("anna", SECRET.upper()), id="secret in capitals"),
        pytest.param([*named("anna"), (PROOF, "x" * 64)], id="secret twice"),
        pytest.param([*named("anna"), (PROOF, SECRET)], id="the same secret twice"),
        pytest.param([(USER, "mallory"), *named("anna")], id="name twice"),
        pytest.param([("x-remote-USER", "mallory"), *named("anna")], id="name twice in other letters"),
        pytest.param(named("mallory, anna"), id="two names in one"),
        pytest.param(named(""), id="empty name"),
        pytest.param(named("  "), id="blank name"),
        pytest.param(named("a\tb"), id="a control in it"),
        pytest.param(named("a" * (LONGEST_NAME + 1)), id="too long"),
    ],
)
def test_who_is_not_named_once_with_the_secret_is_not_let_in(
    come: Callable[[Headers], Browser], site: SiteConfig, headers: Headers
) -> None:
    browser = come(headers)
    for answer in (browser.get("/"), browser.post({"text": "report 3"}), browser.get("/enter?token=")):
        assert answer.status_code == 403
        assert "studies" not in answer.text
        assert SECRET not in answer.text
    assert not (site.state_folder / ASKED_FILE).exists()


def test_name_in_utf_8_is_understood_and_other_bytes_are_not(come: Callable[[Headers], Browser]) -> None:
    assert "Zoë Ångström" in words_of(come(named("Zoë Ångström".encode())).get("/"))
    assert come(named(b"Zo\xeb")).get("/").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", f"127.0.0.1:{PORT}", f"localhost:{PORT}", "search.north.example:8443", ""]
)
def test_another_host_is_refused_with_the_secret_too(come: Callable[[Headers], Browser], host: str) -> None:
    assert come(named("anna")).get("/", Host=host).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "http://search.north.example", "null", "", ORIGIN])
def test_form_of_another_origin_is_refused(come: Callable[[Headers], Browser], origin: str) -> None:
    browser = come(named("anna"))
    assert browser.post({"text": "report 3", "alone": "on"}, Origin=origin).status_code == 403
    assert browser.post({"text": "report 3", "alone": "on"}, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post({"text": "report 3", "alone": "on"}).status_code == 200


def test_form_of_another_user_is_refused(come: Callable[[Headers], Browser]) -> None:
    anna, boris = come(named("anna")), come(named("boris"))
    assert anna.page.tokens.of("anna") != anna.page.tokens.of("boris")
    stolen = {"text": "report 3", "token": anna.page.tokens.of("anna")}
    assert boris.post(stolen).status_code == 403
    assert boris.post({"text": "report 3", "alone": "on"}).status_code == 200


def test_script_in_a_name_is_text(come: Callable[[Headers], Browser]) -> None:
    assert "<b>anna" not in come(named("<b>anna</b>")).get("/").text


@pytest.mark.parametrize("content", ["", "short", "a" * 31, "a b" * 20, "a," * 40])
def test_file_that_holds_no_secret_is_refused(secret_file: Path, content: str) -> None:
    secret_file.write_text(content)
    with pytest.raises(ConfigError, match="holds no secret"):
        ThroughPortal(PageAccess(address=ADDRESS, secret_file=str(secret_file)))


def test_secret_that_others_can_read_is_refused(secret_file: Path) -> None:
    secret_file.chmod(0o640)
    with pytest.raises(TrustError, match="chmod 600"):
        ThroughPortal(PageAccess(address=ADDRESS, secret_file=str(secret_file)))
