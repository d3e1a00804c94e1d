"""A page over a hospital of twelve patients, opened as a browser opens it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest

from client.deploy.searcher import Searcher
from client.mediator.query_log import QueryLog
from client.page.app import Page
from client.page.asked_list import AskedList
from client.page.door import WayIn
from client.page.link import ByLink
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteConfig
from client.search.build import build
from client.search.traits import names_in
from common.hashing.codes import Codes, unpack
from common.model.saliency import Saliency
from common.types import Image
from tests.client.search.conftest import StandInModel, model, site  # noqa: F401 - fixtures

PORT = 8470
ORIGIN = f"http://127.0.0.1:{PORT}"


class Browser:
    """Asks the page as a browser does: with its cookie, and with the origin of the page that it is on.

    Args:
        page: The page.
        way: How people come in.
        origin: Of the page, as the browser names it.
        headers: What is sent with each request beside what a browser sends, such as by a proxy.
    """

    def __init__(
        self,
        page: Page,
        way: WayIn,
        *,
        origin: str = ORIGIN,
        headers: Sequence[tuple[str, str | bytes]] = (),
    ) -> None:
        self.page, self.way, self.origin = page, way, origin
        self.application = page.application(way)
        self.headers = list(headers)
        self.cookies = httpx.Cookies()

    @property
    def user(self) -> str:
        """Whom the proxy names, if it is there."""
        return str(dict(self.headers).get("X-Remote-User", ""))

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page, redirects not followed."""
        return self._asked("GET", path, headers=headers)

    def post(
        self,
        form: Mapping[str, str],
        *,
        path: str = "/search",
        files: Mapping[str, Any] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """The form sent, as a browser sends it: in parts, with its token and origin."""
        fields: dict[str, Any] = {"token": (None, self.page.tokens.of(self.user)), "by": (None, "text")}
        fields |= {name: (None, value) for name, value in form.items()}
        return self._asked("POST", path, headers={"Origin": self.origin} | headers, files=fields | dict(files or {}))

    def enter(self) -> httpx.Response:
        """The link that was printed."""
        assert isinstance(self.way, ByLink)
        return self.get(self.way.path)

    def _asked(self, method: str, path: str, *, headers: Mapping[str, str], **options: Any) -> httpx.Response:
        own = [(name, value) for name, value in self.headers if name not in headers]

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.application)
            async with httpx.AsyncClient(transport=transport, base_url=self.origin, cookies=self.cookies) as client:
                sent = [_in_bytes(*pair) for pair in [*own, *headers.items()]]
                answer = await client.request(method, path, headers=sent, **options)
                self.cookies.update(client.cookies)
                return answer

        return asyncio.run(asked())


def _in_bytes(name: str, value: str | bytes) -> tuple[bytes, bytes]:
    return name.encode(), value if isinstance(value, bytes) else value.encode()


def words_of(answer: httpx.Response) -> str:
    """What a person reads: the page without its elements, its style and its script."""
    bare = re.sub(r"<(style|script)>.*?</\1>", "", answer.text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


class StandInSaliency:
    """Stands in for `saliency` where the model stands in for one: strongest in the upper left."""

    def __init__(self, encoder: StandInModel) -> None:
        self.encoder = encoder
        self.num_maps = 0

    def __call__(self, picture: Image, code_P: Codes) -> Saliency:
        """The map of a picture."""
        self.num_maps += 1
        map_HW = np.full((32, 32), -0.001, np.float32)
        map_HW[:8, :8] = 0.01
        (found_P,) = self.encoder.encode_images([PIL.Image.fromarray(picture)])
        distance = int(unpack((found_P ^ code_P)[None]).sum())
        return Saliency(map_HW=map_HW, agreement=0.2, distance=distance, blurred_distance=33)


def entered(page: Page) -> Browser:
    """A browser that came in by the link."""
    found = Browser(page, ByLink(port=PORT))
    assert found.enter().status_code == 303
    return found


@pytest.fixture
def page_of(site: SiteConfig, model: StandInModel) -> Callable[[], Page]:  # noqa: F811
    """The page of the hospital's index, made anew when called."""

    def made() -> Page:
        build(site, model)
        return Page(
            searcher=Searcher(site, model),
            model=model,
            saliency_of=StandInSaliency(model),
            asked_list=AskedList(site.state_folder),
            query_log=QueryLog(site.state_folder, writer="page", owner=site.site),
            names=names_in(study_folder(site.data).records()),
        )

    return made


@pytest.fixture
def browser(page_of: Callable[[], Page]) -> Browser:
    """A browser that came in by the link."""
    return entered(page_of())
