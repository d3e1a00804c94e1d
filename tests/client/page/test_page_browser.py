"""The page in headless Chromium, by keyboard: the link is opened, words are typed, studies are seen, no script runs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn

from client.page.app import Page
from client.page.door import ENTER
from tests.client.page.chromium import CHROMIUM, opened_tab
from tests.client.page.test_about import HOSTILE as HOSTILE_CARD
from tests.client.page.test_about import about_with, all_kinds
from tests.client.search.conftest import NUM_PATIENTS

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> 5"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed"),
]


@contextmanager
def served(page: Page) -> Iterator[str]:
    """The page on a port of this machine; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = uvicorn.Config(page.application(port=port), lifespan="off", log_config=None, http="h11", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def test_search_by_keyboard_shows_studies_and_runs_nothing_hostile(
    page_of: Callable[[], Page], write_studies: Callable[..., Path], tmp_path: Path
) -> None:
    write_studies(NUM_PATIENTS, (HOSTILE, "hostile", "1.png", HOSTILE, "F", "50"))
    page = page_of()
    with served(page) as address, opened_tab(tmp_path / "profile") as tab:
        tab.open(f"{address}{ENTER}?token={page.keys.link}")
        tab.wait_for("document.activeElement.id == 'text'")
        assert tab.value("location.pathname + location.search") == "/", "the token stands in no address"
        assert tab.value("document.cookie") == "", "no script reads the cookie"
        tab.type(HOSTILE)
        tab.press("Enter", 13, "\r")
        tab.wait_for("document.querySelectorAll('article').length > 0 && document.readyState == 'complete'")
        assert HOSTILE in tab.value("document.body.innerText")
        assert tab.value("document.title").endswith("studies found, search of north")
        assert tab.value("[...document.images].every(image => image.complete && image.naturalWidth == 4)")
        assert tab.value("document.documentElement.scrollWidth <= innerWidth")
        assert tab.console == [], "nothing was refused by the policy, and nothing failed"
        tab.value("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))")
        tab.wait_for("document.readyState == 'complete'")
        assert any("Content Security Policy" in said for said in tab.console), "the console would tell"


def test_page_about_the_model_is_drawn_without_a_script_and_fits_a_phone(
    page_of: Callable[[], Page], tmp_path: Path
) -> None:
    page = replace(page_of(), about=about_with(all_kinds(), why=HOSTILE_CARD))
    with served(page) as address, opened_tab(tmp_path / "profile") as tab:
        tab.open(f"{address}{ENTER}?token={page.keys.link}")
        tab.wait_for("document.activeElement.id == 'text'")
        tab.value("document.querySelector('footer a').click()")
        tab.wait_for("location.pathname == '/model' && document.readyState == 'complete'")
        assert tab.value("document.title") == "About the model, search of north"
        assert tab.value("[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().width > 150)")
        assert tab.value("document.querySelectorAll('circle.point').length") == 4
        fill = "getComputedStyle(document.querySelector('circle.point')).fill"
        assert tab.value(fill) not in {"rgb(0, 0, 0)", "none"}, "the style of the page is applied"
        assert tab.console == [], "nothing was refused by the policy"
        tab.call("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
        assert tab.value("document.documentElement.scrollWidth <= 360")
        tab.value("document.querySelector('a[href=\"/\"]').click()")
        tab.wait_for("location.pathname == '/'")
