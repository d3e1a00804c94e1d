"""Who is let in to the page, and who is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from client.page import door
from client.page.app import Page
from client.page.link import ENTER, ByLink
from tests.client.page.conftest import ORIGIN, PORT, Browser


def test_link_opens_once_and_becomes_a_cookie_that_no_script_reads(page_of: Callable[[], Page]) -> None:
    way = ByLink(port=PORT)
    first = Browser(page_of(), way)
    assert first.get("/").status_code == 403, "nothing without the link"
    entered = first.enter()
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    said = entered.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert way.path.partition("=")[2].lower() not in said
    assert first.get("/").status_code == 200
    assert first.enter().status_code == 303, "a second click in the same browser"
    other = Browser(first.page, way)
    assert other.enter().status_code == 403, "the link was used"
    assert other.get("/").status_code == 403
    assert other.get(f"{ENTER}?token=").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8470", "127.0.0.1", f"127.0.0.1.evil.example:{PORT}", ""]
)
def test_another_host_is_refused_with_the_cookie_too(browser: Browser, host: str) -> None:
    answer = browser.get("/", Host=host)
    assert answer.status_code == 403
    assert "studies" not in answer.text


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1"]
)
def test_form_of_another_origin_is_refused(browser: Browser, origin: str) -> None:
    assert browser.post({"text": "report 3"}, Origin=origin).status_code == 403
    assert browser.post({"text": "report 3", "alone": "on"}).status_code == 200


def test_form_that_a_browser_calls_cross_site_is_refused(browser: Browser) -> None:
    assert browser.post({"text": "report 3"}, **{"Sec-Fetch-Site": "same-site"}).status_code == 403


@pytest.mark.parametrize("token", ["", "x" * 43, "\u00e9"])
def test_form_without_its_token_is_refused_and_nothing_is_searched(browser: Browser, token: str) -> None:
    answer = browser.post({"text": "report 3", "token": token})
    assert answer.status_code == 403
    assert "This form is not of this page" in answer.text
    assert "bits apart" not in answer.text


def test_cookie_alone_searches_nothing_by_address(browser: Browser) -> None:
    assert browser.get("/search?text=report+3").status_code == 405


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "10"}, {"Content-Length": "-1"}])
def test_body_that_is_too_long_is_refused(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(door, "MOST_BODY_BYTES", 5000)
    answer = browser.post({}, files={"picture": ("x.png", b"0" * 6000)}, **headers)
    assert answer.status_code == 413
    assert "longer than" in answer.text


def test_every_answer_says_what_a_browser_may_do_with_it(browser: Browser) -> None:
    for answer in (browser.get("/"), browser.get("/nowhere"), Browser(browser.page, ByLink(port=PORT)).get("/")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
    assert ORIGIN not in browser.get("/").text
