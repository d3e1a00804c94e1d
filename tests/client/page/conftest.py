"""A page over a hospital of twelve patients, opened as a browser opens it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from client.deploy.searcher import Searcher
from client.page.app import Page, scanners_of
from client.page.door import ENTER
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteConfig
from client.search.build import build
from tests.client.search.conftest import StandInModel, model, site  # noqa: F401 - fixtures

PORT = 8470
ORIGIN = f"http://127.0.0.1:{PORT}"


class Browser:
    """Asks the page as a browser does: with its cookie, and with the origin of the page that it is on."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.application = page.application(port=PORT)
        self.cookies = httpx.Cookies()

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page, redirects not followed."""
        return self._asked("GET", path, headers=headers)

    def post(
        self, form: Mapping[str, str], *, files: Mapping[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        """The form sent, as a browser sends it: in parts, with its token and origin."""
        fields: dict[str, Any] = {"token": (None, self.page.keys.form), "by": (None, "text")}
        fields |= {name: (None, value) for name, value in form.items()}
        return self._asked("POST", "/search", headers={"Origin": ORIGIN} | headers, files=fields | dict(files or {}))

    def enter(self) -> httpx.Response:
        """The link that was printed."""
        return self.get(f"{ENTER}?token={self.page.keys.link}")

    def _asked(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.application)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=self.cookies) as client:
                answer = await client.request(method, path, **options)
                self.cookies.update(client.cookies)
                return answer

        return asyncio.run(asked())


def words_of(answer: httpx.Response) -> str:
    """What a person reads: the page without its elements, its style and its script."""
    bare = re.sub(r"<(style|script)>.*?</\1>", "", answer.text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


@pytest.fixture
def page_of(site: SiteConfig, model: StandInModel) -> Callable[[], Page]:  # noqa: F811
    """The page of the hospital's index, made anew when called."""

    def made() -> Page:
        build(site, model)
        return Page(searcher=Searcher(site, model), model=model, scanners=scanners_of(study_folder(site.data)))

    return made


@pytest.fixture
def browser(page_of: Callable[[], Page]) -> Browser:
    """A browser that came in by the link."""
    found = Browser(page_of())
    found.enter()
    return found
