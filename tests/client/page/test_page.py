"""What the page shows: of a search, of nothing found, of what goes wrong."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from client.page.app import Page
from client.page.asked import MOST_CHARACTERS
from client.policy.site_schema import SiteConfig
from client.search.asking import NotAnswered
from client.search.build import build, withdraw
from common.errors import TrustError
from common.search.answer import Answer, Silent, SiteHit
from tests.client.page.conftest import Browser, entered, words_of
from tests.client.search.conftest import NUM_PATIENTS, StandInModel

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)> 7"


def png(value: int) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(np.full((4, 4), value, np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer | Exception], None]:
    """Have the other hospitals answer, or fail."""

    def answer(said: Answer | Exception) -> None:
        def ask(*_: object, **__: object) -> Answer:
            if isinstance(said, Exception):
                raise said
            return said

        monkeypatch.setattr("client.deploy.searcher.ask", ask)
        monkeypatch.setattr("client.deploy.searcher.server_of", lambda _: None)

    return answer


def test_words_find_the_study_with_picture_and_report(browser: Browser) -> None:
    answer = browser.post({"text": "report 3", "gallery": "reports", "k": "5", "alone": "on"})
    assert answer.status_code == 200
    words = words_of(answer)
    assert re.findall(r"(\S+) (\d+) bits apart", words)[0] == ("s3", "0")
    assert '<mark class="shared">report</mark> 3</p>' in answer.text
    assert answer.text.count("data:image/png;base64,") == answer.text.count("<article") == 5
    assert 'value="report 3"' in answer.text, "the words stand in the form still"
    assert "They were not asked." in answer.text


def test_picture_finds_its_study(browser: Browser) -> None:
    answer = browser.post({"by": "picture", "text": "left over", "alone": "on"}, files={"picture": ("x.png", png(4))})
    assert answer.status_code == 200
    assert "s4 0 bits apart 40 years F" in words_of(answer)
    assert "Shares" not in answer.text, "a picture shares no words"


def test_filters_narrow_and_what_narrows_to_nothing_is_said(browser: Browser) -> None:
    answer = browser.post({"text": "report 1", "alone": "on", "sex": "M", "from": "70", "to": "75"})
    assert answer.text.count("<article") == 1
    assert "71 years" in answer.text
    answer = browser.post({"text": "report 1", "alone": "on", "sex": "M", "to": "39"})
    assert answer.status_code == 200
    assert "nothing found" in answer.text
    assert "Widen it" in answer.text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"text": " "}, "Type what to look for first."),
        ({"by": "picture"}, "Choose a picture first."),
        ({"text": "1", "from": "old"}, "Age from: give whole years"),
        ({"text": "1", "from": "60", "to": "50"}, "Age from 60 to 50 is empty"),
        ({"text": "1", "sex": "X"}, "sex: give one of"),
        ({"text": "1", "k": "100000"}, "k: give one of 5, 10, 20"),
        ({"text": "1", "gallery": "../etc"}, "gallery: give one of images, reports"),
        ({"text": "x" * MOST_CHARACTERS + " 1"}, "10,002 characters are too many"),
    ],
)
def test_what_cannot_be_asked_is_one_line(browser: Browser, form: dict[str, str], said: str) -> None:
    answer = browser.post({"alone": "on"} | form)
    assert answer.status_code == 400
    assert said in words_of(answer)
    assert "<article" not in answer.text


def test_ten_thousand_characters_are_searched_and_a_million_are_not(browser: Browser) -> None:
    assert browser.post({"text": f"{'word ' * 1999}77777", "alone": "on"}).status_code == 200
    assert browser.post({"text": "x" * 1_000_000, "alone": "on"}).status_code == 400


@pytest.mark.parametrize("content", [b"no picture", png(4)[:40], b"\0" * 128 + b"DICM" + b"\xff" * 64, b"<svg/>"])
def test_broken_picture_is_one_line(browser: Browser, content: bytes) -> None:
    answer = browser.post({"by": "picture", "alone": "on"}, files={"picture": ("../../x.png", content)})
    assert answer.status_code == 400
    assert answer.text.count('role="alert"') == 1
    assert "<article" not in answer.text


def test_picture_bomb_is_refused_before_it_is_decoded(browser: Browser) -> None:
    bomb = bytearray(png(4))
    bomb[16:24] = (60_000).to_bytes(4) * 2
    answer = browser.post({"by": "picture", "alone": "on"}, files={"picture": ("x.png", bytes(bomb))})
    assert answer.status_code == 400
    assert "image c" in answer.text


def test_report_that_holds_a_script_is_text(page_of: Callable[[], Page], write_studies: Callable[..., object]) -> None:
    write_studies(NUM_PATIENTS, (HOSTILE, "hostile", "1.png", HOSTILE, "F", "50"))
    browser = entered(page_of())
    answer = browser.post({"text": HOSTILE, "gallery": "reports", "alone": "on", "k": "20"})
    assert answer.text.count("&lt;script&gt;") >= 3
    assert answer.text.count("<script>") == 1, "the page's own"
    assert "<img src=x" not in answer.text
    assert words_of(answer).count("0 bits apart") >= 1


def test_others_are_cards_and_who_is_silent_makes_it_partial(
    browser: Browser, others: Callable[[Answer | Exception], None]
) -> None:
    handle = "A" * 40
    others(
        Answer(
            question="",
            hits=(SiteHit(site="south", handle=handle, distance=8),),
            cut=("south",),
            answered=("south",),
            silent=(Silent(site="west", reason="offline"),),
        )
    )
    words = words_of(answer := browser.post({"text": "report 3"}))
    assert "Partial: west did not answer (offline)." in words
    assert f"south at most 8 bits apart {handle} Copy reference" in words
    assert "More studies are as far as the last one at south." in words
    assert answer.text.count("data:image/png") == 12, "pictures of own studies alone, with ties"


@pytest.mark.parametrize("error", [NotAnswered("no run is open"), TrustError("the answer is not the server's")])
def test_own_studies_are_shown_where_the_others_could_not_be_asked(
    browser: Browser, others: Callable[[Answer | Exception], None], error: Exception
) -> None:
    others(error)
    answer = browser.post({"text": "report 3"})
    assert answer.status_code == 200
    assert f"The other hospitals were not asked: {error}".replace("'", "&#39;") in answer.text
    assert answer.text.count("<article") >= 10


def test_ties_beyond_a_page_are_counted(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.page.shown.MOST_SHOWN", 3)
    answer = browser.post({"text": "report 3", "alone": "on", "k": "5"})
    assert answer.text.count("<article") == 3
    assert re.search(r"[2-9] more studies are as near", words_of(answer))


def test_hospital_that_names_no_port_is_told_so(browser: Browser) -> None:
    words = words_of(browser.post({"text": "report 3"}))
    assert "The other hospitals were not asked: search.server_port: is not set" in words


def test_withdrawn_patient_is_found_no_more_without_a_new_start(browser: Browser, site: SiteConfig) -> None:
    asked = {"text": "report 3", "gallery": "reports", "alone": "on"}
    assert "s3 0 bits apart" in words_of(browser.post(asked))
    withdraw(site, patients=["p3"])
    assert "s3 " not in words_of(browser.post(asked)).replace("studies", "")


def test_study_that_left_the_folder_is_said_to_be_gone(browser: Browser, site: SiteConfig) -> None:
    (site.data.root / "3.png").unlink()
    answer = browser.post({"text": "report 3", "gallery": "reports", "alone": "on", "k": "5"})
    assert answer.status_code == 200
    assert "s3 0 bits apart This study cannot be read in the hospital's folder any more." in words_of(answer)


def test_error_that_nobody_foresaw_quotes_nothing(
    browser: Browser, model: StandInModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise ValueError("Jane Doe, born 1950")

    monkeypatch.setattr(model, "encode_texts", fails)
    answer = browser.post({"text": "report 3", "alone": "on"})
    assert answer.status_code == 400
    assert "The search failed (ValueError)" in answer.text
    assert "Jane" not in answer.text + caplog.text


def test_index_of_another_model_is_not_searched(browser: Browser, site: SiteConfig) -> None:
    build(site, StandInModel(digest="b" * 64))
    answer = browser.post({"text": "report 3", "alone": "on"})
    assert answer.status_code == 400
    assert "was made by model" in answer.text


def test_sites_name_is_escaped(browser: Browser) -> None:
    page = browser.page
    page.searcher.site = replace(page.searcher.site, site="<b>north")
    assert "<b>north" not in browser.get("/").text
