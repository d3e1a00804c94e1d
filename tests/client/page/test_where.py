"""Where a hit agrees: asked for by a handle of the own index and the page's own code, shown beside the picture."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest

from client.page.app import Page
from client.page.asked_list import ASKED_FILE
from client.page.where import AWAY, TOWARDS, Picked, picked, where
from client.policy.site_schema import SiteConfig
from client.search.build import withdraw
from common.errors import CheckFailed
from common.hashing.codes import Codes
from common.model.saliency import Saliency
from common.types import Image, Study, StudyRecord
from tests.client.page.conftest import ORIGIN, Browser, StandInSaliency, entered, words_of
from tests.client.search.conftest import StandInModel

ASKED = {"text": "report 3", "gallery": "reports", "alone": "on", "k": "5"}


def form_of(answer: httpx.Response) -> dict[str, str]:
    """What the button beside the first hit sends, but for the form's token."""
    handle = re.search(r'<button form="where" name="handle" value="([0-9a-f]{32})"', answer.text)
    code = re.search(r'name="code" value="([0-9a-f]+)"', answer.text)
    assert handle
    assert code
    return {"handle": handle[1], "code": code[1], "text": "report 3"}


def lines_of(site: SiteConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (site.state_folder / ASKED_FILE).read_text().splitlines()]


def with_saliency(page: Page, saliency_of: Callable[[Image, Codes], Saliency]) -> Browser:
    return entered(replace(page, saliency_of=saliency_of))


def test_map_is_shown_beside_the_picture_in_words_too(browser: Browser, site: SiteConfig) -> None:
    answer = browser.post(form_of(browser.post(ASKED)), path="/where")
    assert answer.status_code == 200
    assert answer.text.count("data:image/png;base64,") == 2
    alternatives = re.findall(r'<img src="[^"]+"[^>]* alt="([^"]+)"', answer.text)
    assert alternatives[0] == "The picture of study s3 as it is."
    assert "strongest in the upper left of the picture" in alternatives[1]
    words = words_of(answer)
    assert "does not say that a finding is there" in words
    assert "Looked for: report 3" in words
    assert [line["what"] for line in lines_of(site)] == ["search", "where"]


def test_hit_of_a_picture_gets_its_map_without_the_picture_that_was_searched_with(browser: Browser) -> None:
    form = form_of(browser.post(ASKED)) | {"text": ""}
    assert "Looked for: a picture, which is not kept" in words_of(browser.post(form, path="/where"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"handle": "0" * 32}, "is no handle of this index"),
        ({"handle": ""}, "a handle is 32 of 0-9 and a-f"),
        ({"handle": "../../state/site_key.pem"}, "a handle is 32 of 0-9 and a-f"),
        ({"code": ""}, "code: is none of this page"),
        ({"code": "ff" * 9}, "code: is none of this page"),
        ({"code": "zz" * 8}, "code: is none of this page"),
    ],
)
def test_what_is_not_of_this_index_or_page_gets_one_line_and_no_map(
    browser: Browser, wrong: dict[str, str], said: str
) -> None:
    answer = browser.post(form_of(browser.post(ASKED)) | wrong, path="/where")
    assert answer.status_code == 400
    assert said in words_of(answer)
    assert "data:image" not in answer.text
    assert isinstance(browser.page.saliency_of, StandInSaliency)
    assert browser.page.saliency_of.num_maps == 0


def test_withdrawn_study_and_one_that_left_the_folder_get_no_map(browser: Browser, site: SiteConfig) -> None:
    form = form_of(browser.post(ASKED))
    (site.data.root / "3.png").rename(site.data.root / "elsewhere.png")
    assert "cannot be read in the hospital" in words_of(browser.post(form, path="/where"))
    (site.data.root / "elsewhere.png").rename(site.data.root / "3.png")
    assert browser.post(form, path="/where").status_code == 200
    withdraw(site, patients=["p3"])
    assert "is no handle of this index" in words_of(browser.post(form, path="/where"))


def test_words_that_hold_a_script_are_text(browser: Browser) -> None:
    answer = browser.post(form_of(browser.post(ASKED)) | {"text": "<script>alert(1)</script>"}, path="/where")
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


def test_map_is_asked_for_by_form_and_token_alone(browser: Browser) -> None:
    form = form_of(browser.post(ASKED))
    assert browser.get("/where?" + "&".join(f"{name}={value}" for name, value in form.items())).status_code == 405
    assert browser.post(form | {"token": "x"}, path="/where").status_code == 403
    assert browser.post(form, path="/where", Origin="http://evil.example").status_code == 403


@pytest.mark.parametrize(
    ("error", "said"),
    [(CheckFailed("the map does not add up"), "the map does not add up"), (ValueError("Jane Doe"), "The map failed")],
)
def test_map_that_fails_is_one_line_and_quotes_nothing(
    page_of: Callable[[], Page], error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> Saliency:
        raise error

    browser = with_saliency(page_of(), fails)
    answer = browser.post(form_of(browser.post(ASKED)), path="/where")
    assert answer.status_code == 400
    assert said in words_of(answer)
    assert "Jane" not in answer.text + caplog.text
    assert "data:image" not in answer.text


def test_slow_map_does_not_hold_up_a_search_and_none_runs_beside_it(page_of: Callable[[], Page]) -> None:
    page, started, go_on, running, most = page_of(), threading.Event(), threading.Event(), [0], [0]
    quick = page.saliency_of

    def slow(picture: Image, code_P: Codes) -> Saliency:
        running[0] += 1
        most[0] = max(most[0], running[0])
        started.set()
        assert go_on.wait(60)
        running[0] -= 1
        return quick(picture, code_P)

    browser = with_saliency(page, slow)
    form = form_of(browser.post(ASKED))

    async def asked() -> tuple[list[int], int]:
        transport = httpx.ASGITransport(app=browser.application)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=browser.cookies) as client:

            async def post(path: str, fields: dict[str, str]) -> int:
                whole = {"token": browser.page.tokens.of(""), "by": "text"} | fields
                parts = {name: (None, value) for name, value in whole.items()}
                return (await client.post(path, files=parts, headers={"Origin": ORIGIN})).status_code

            maps = [asyncio.create_task(post("/where", form)) for _ in range(3)]
            while not started.is_set():
                await asyncio.sleep(0.01)
            searched = await post("/search", ASKED)
            go_on.set()
            return [await one for one in maps], searched

    maps, searched = asyncio.run(asked())
    assert searched == 200, "while a map was being made"
    assert maps == [200] * 3
    assert most == [1]


def test_picture_that_is_nearest_is_the_one_that_is_mapped(model: StandInModel) -> None:
    images = [np.full((4, 4), value, np.uint8) for value in (1, 2, 3)]
    study = Study(StudyRecord("s", "p", "r"), images[0], tuple(images[1:]))

    class Index:
        def study_of(self, handle: str) -> str:
            assert handle == "h"
            return "s"

    class Folder:
        def named(self, names: set[str]) -> Iterator[Study]:
            assert names == {"s"}
            yield study

    found = picked("h", model.code(3), Index(), Folder(), model)  # type: ignore[arg-type]
    assert (found.number, found.num_images) == (3, 3)
    assert found.image is images[2]


def test_colours_lie_where_the_map_does_and_an_empty_one_changes_nothing() -> None:
    image = np.full((40, 60), 100, np.uint8)
    map_HW = np.zeros((20, 30), np.float32)
    map_HW[:, :10], map_HW[:, 20:] = 1, -1

    def pixels(of: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[Any, str]:
        saliency = Saliency(map_HW=of, agreement=0, distance=1, blurred_distance=2)
        one = Picked(study="s", image=image, number=1, num_images=1)
        found = where(one, np.zeros(8, np.uint8), lambda *_: saliency)
        content = base64.b64decode(found.mapped.partition(",")[2])
        return np.asarray(PIL.Image.open(io.BytesIO(content))).astype(int), found.place

    mapped, place = pixels(map_HW)
    assert mapped.shape == (40, 60, 3)
    assert place.endswith("left")
    grey = np.array([100, 100, 100])
    for column, colour in ((4, TOWARDS), (55, AWAY)):
        np.testing.assert_allclose(mapped[20, column] - grey, 0.62 * (np.array(colour) - grey), atol=2)
    assert (mapped[20, 30] == grey).all()
    empty, nowhere = pixels(np.zeros_like(map_HW))
    assert (empty == 100).all()
    assert nowhere == ""


def test_list_keeps_who_asked_and_no_word_of_what(browser: Browser, site: SiteConfig) -> None:
    browser.post(form_of(browser.post(ASKED)), path="/where")
    path = site.state_folder / ASKED_FILE
    assert path.stat().st_mode & 0o077 == 0
    searched, mapped = lines_of(site)
    assert (searched["who"], searched["by"], searched["alone"]) == (None, "words", True)
    assert re.fullmatch(r"[0-9a-f]{32}", mapped["handle"])
    assert "report" not in path.read_text()


def test_nothing_is_shown_without_its_line(browser: Browser, site: SiteConfig) -> None:
    form = form_of(browser.post(ASKED))
    (site.state_folder / ASKED_FILE).unlink()
    (site.state_folder / ASKED_FILE).mkdir()
    for fields, path in ((ASKED, "/search"), (form, "/where")):
        answer = browser.post(fields, path=path)
        assert answer.status_code == 400
        assert "nothing is shown without its line" in words_of(answer)
        assert "data:image" not in answer.text
