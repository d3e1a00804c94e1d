"""The page in headless Chromium, by keyboard: the link is opened, words are typed, studies are seen, no script runs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from client.page.app import Page
from client.page.link import ByLink
from tests.client.page.chromium import CHROMIUM, opened_tab
from tests.client.search.conftest import NUM_PATIENTS

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> 5"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed"),
]


@contextmanager
def served(page: Page) -> Iterator[str]:
    """The page on a port of this machine; the link to it."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    way = ByLink(port=port)
    config = uvicorn.Config(page.application(way), lifespan="off", log_config=None, http="h11", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}{way.path}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def test_search_by_keyboard_shows_studies_and_runs_nothing_hostile(
    page_of: Callable[[], Page], write_studies: Callable[..., Path], tmp_path: Path
) -> None:
    write_studies(NUM_PATIENTS, (HOSTILE, "hostile", "1.png", HOSTILE, "F", "50"))
    page = page_of()
    with served(page) as link, opened_tab(tmp_path / "profile") as tab:
        tab.open(link)
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
