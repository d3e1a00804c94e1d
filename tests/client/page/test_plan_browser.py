"""The plan in headless Chromium: parts are taken out and put back, an acronym is asked back, nothing hostile runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from client.page.app import Page
from tests.client.page.chromium import CHROMIUM, Tab, opened_tab
from tests.client.page.test_page_browser import new_tab_of, served
from tests.client.page.test_plan_on_page import HostileMediator
from tests.client.search.conftest import NUM_PATIENTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed"),
]

CHIPS = (
    "[...document.querySelectorAll('.chips .chip')].map(one => one.innerText.replace(/\\s+/g, ' ').trim()).join('|')"
)
MARK = "window.before = true"


def search(tab: Tab, text: str) -> None:
    """Type words in place of those that stand there, and send them."""
    tab.value("document.getElementById('text').value = ''")
    tab.value("document.getElementById('text').focus()")
    tab.value(MARK)
    tab.type(text)
    tab.press("Enter", 13, "\r")
    whole(tab)


def press_chip(tab: Tab, label: str) -> None:
    """Press the chip of a label by keyboard."""
    tab.value(f"[...document.querySelectorAll('.chip')].find(one => one.innerText.includes({label!r})).focus()")
    tab.value(MARK)
    tab.press("Enter", 13, "\r")
    whole(tab)


def whole(tab: Tab) -> None:
    """Wait for the next page."""
    tab.wait_for("!window.before && document.readyState == 'complete' && document.querySelector('article') != null")


def test_parts_are_taken_out_and_an_acronym_is_asked_back(
    page_of: Callable[[], Page], write_studies: Callable[..., Path], tmp_path: Path
) -> None:
    write_studies(NUM_PATIENTS, ("denies", "x", "1.png", "Effusion, no pneumonia. 500", "F", "50"))
    page, profile = page_of(), tmp_path / "profile"
    with served(page) as link, opened_tab(profile) as tab:
        tab.open(link)
        search(tab, "pneumonia, no effusion 3")
        assert tab.value(CHIPS) == "wanted pneumonia \u00d7|not Effusion \u00d7"
        denied = "getComputedStyle(document.querySelector('.chip.not')).borderTopColor"
        assert tab.value(denied) != tab.value("getComputedStyle(document.querySelector('.chip.wanted')).borderTopColor")
        assert "pneumonia: not named" in tab.value("document.body.innerText")
        press_chip(tab, "pneumonia")
        assert tab.value(CHIPS) == "wanted pneumonia +|not Effusion \u00d7"
        assert tab.value("document.getElementById('text').value") == "pneumonia, no effusion 3"
        press_chip(tab, "pneumonia")
        assert tab.value(CHIPS) == "wanted pneumonia \u00d7|not Effusion \u00d7"
        search(tab, "MS 3")
        assert "can mean more than one thing" in tab.value("document.body.innerText")
        press_chip(tab, "multiple sclerosis")
        assert tab.value("document.getElementById('text').value") == "multiple sclerosis 3"
        assert tab.value(CHIPS) == "wanted multiple sclerosis \u00d7"
        tab.call("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
        assert tab.value("document.documentElement.scrollWidth <= 360")
        tab.call("Emulation.clearDeviceMetricsOverride")
        tab.value("document.querySelector('button[name=says]').focus()")
        tab.press("Enter", 13, "\r")
        with new_tab_of(profile, path="/feedback") as other:
            assert "is relevant to this search" in other.value("document.body.innerText")
            assert other.console == []
        assert tab.console == [], "nothing was refused by the policy, and nothing failed"


def test_markup_in_a_plan_is_words_on_the_page(page_of: Callable[[], Page], tmp_path: Path) -> None:
    page = replace(page_of(), mediator=HostileMediator())
    with served(page) as link, opened_tab(tmp_path / "profile") as tab:
        tab.open(link)
        search(tab, "pneumonia 3")
        assert "<img src=x" in tab.value("document.querySelector('.chip').innerText")
        assert tab.value("document.querySelectorAll('.plan img, .plan script').length") == 0
        assert tab.console == []
