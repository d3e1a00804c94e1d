"""The page in headless Chromium, by keyboard: the link is opened, words are typed, studies are seen, no script runs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.sync.client import connect

from client.page.app import Page
from client.page.link import ByLink
from client.page.portal import ThroughPortal
from client.policy.site_schema import PageAccess
from tests.client.page.chromium import CHROMIUM, Tab, opened_tab
from tests.client.page.test_about import HOSTILE as HOSTILE_CARD
from tests.client.page.test_about import about_with, all_kinds
from tests.client.search.conftest import NUM_PATIENTS

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> 5"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed"),
]


def by_link(page: Page, port: int) -> tuple[ASGIApp, str]:
    """The page, and the path of the link to it."""
    way = ByLink(port=port)
    return page.application(way), way.path


@contextmanager
def served(page: Page, application: Callable[[Page, int], tuple[ASGIApp, str]] = by_link) -> Iterator[str]:
    """The page on a port of this machine; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    answering, path = application(page, port)
    config = uvicorn.Config(answering, lifespan="off", log_config=None, http="h11", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}{path}"
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


@contextmanager
def new_tab_of(profile: Path, *, path: str) -> Iterator[Tab]:
    """Lend the tab that a form opened, once its page is whole."""
    port = (profile / "DevToolsActivePort").read_text(encoding="utf-8").split()[0]
    end, address = time.monotonic() + 120, None
    while address is None:
        assert time.monotonic() < end, "no tab was opened"
        tabs = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False, timeout=60).json()
        address = next((tab["webSocketDebuggerUrl"] for tab in tabs if tab["url"].endswith(path)), None)
    with connect(address, max_size=None, open_timeout=60, proxy=None) as connection:
        tab = Tab(connection)
        # A new tab is named by where it goes before its empty first page has gone.
        tab.wait_for(f"location.pathname == '{path}' && document.readyState == 'complete'")
        yield tab


def test_day_narrows_and_the_map_of_a_hit_opens_beside_the_search(
    page_of: Callable[[], Page], write_studies: Callable[..., Path], tmp_path: Path
) -> None:
    table = write_studies(NUM_PATIENTS) / "manifest.csv"
    head, *lines = table.read_text().splitlines()
    dated = [f"{line},2020-01-{day:02d},CT" for day, line in enumerate(lines, start=1)]
    table.write_text("\n".join([f"{head},date,modality", *dated]) + "\n")
    page, profile = page_of(), tmp_path / "profile"
    with served(page) as link, opened_tab(profile) as tab:
        tab.open(link)
        tab.value("document.querySelector('details').open = true")
        tab.value("document.getElementById('since').value = '2020-01-04'")
        tab.value("document.getElementById('until').value = '2020-01-05'")
        tab.value("document.getElementById('text').focus()")
        tab.type("report 3")
        tab.press("Enter", 13, "\r")
        tab.wait_for("document.querySelectorAll('article').length > 0 && document.readyState == 'complete'")
        assert tab.value("[...document.querySelectorAll('h3')].map(one => one.innerText).sort().join()") == "s3,s4"
        assert "2020-01-04" in tab.value("document.body.innerText")
        assert tab.value("document.getElementById('since').value") == "2020-01-04"
        tab.value("document.querySelector('button[form=where]').focus()")
        tab.press("Enter", 13, "\r")
        with new_tab_of(profile, path="/where") as other:
            assert (
                other.value("[...document.images].map(image => image.complete && image.naturalWidth).join()") == "4,4"
            )
            assert other.value("[...document.images].every(image => image.alt.length > 20)")
            assert "Where it agrees" in other.value("document.body.innerText")
            assert other.value("document.documentElement.scrollWidth <= innerWidth")
            assert other.console == []
        assert tab.value("document.querySelectorAll('article').length") == 2, "the search stands where it was"
        assert tab.console == []


def test_page_opens_through_a_proxy_and_not_beside_it(page_of: Callable[[], Page], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    secret.chmod(0o600)

    def behind_proxy(page: Page, port: int) -> tuple[ASGIApp, str]:
        access = PageAccess(address=f"http://127.0.0.1:{port}", secret_file=str(secret))
        inner = page.application(ThroughPortal(access))

        async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
            """Sets both headers itself, but where the path says that it is gone round."""
            kept = [pair for pair in scope["headers"] if pair[0] not in {b"x-remote-user", b"x-wardround-secret"}]
            named = [(b"x-remote-user", b"anna.berg"), (b"x-wardround-secret", b"s" * 40)]
            goes_round = scope["path"] == "/round"
            await inner({**scope, "headers": kept if goes_round else kept + named}, receive, send)

        return proxy, "/"

    with served(page_of(), behind_proxy) as address, opened_tab(tmp_path / "profile") as tab:
        tab.open(address)
        assert "anna.berg" in tab.value("document.body.innerText")
        tab.value("document.getElementById('text').focus()")
        tab.type("report 3")
        tab.press("Enter", 13, "\r")
        tab.wait_for("document.querySelectorAll('article').length > 0 && document.readyState == 'complete'")
        tab.open(f"{address}round")
        assert "through the hospital's proxy" in tab.value("document.body.innerText")


def test_page_about_the_model_is_drawn_without_a_script_and_fits_a_phone(
    page_of: Callable[[], Page], tmp_path: Path
) -> None:
    page = replace(page_of(), about=about_with(all_kinds(), why=HOSTILE_CARD))
    with served(page) as link, opened_tab(tmp_path / "profile") as tab:
        tab.open(link)
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
