"""The plan on the page: what was understood stands there as parts that can be taken out, without a script."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from client.mediator.mediator import Mediated, Mediator
from client.mediator.query_log import check_records
from client.page.app import Page
from client.search.index import SearchIndex
from common.terminology.coded import Coded
from tests.client.page.conftest import Browser, entered, words_of
from tests.client.search.conftest import NUM_PATIENTS

QUERY = "pleural effusion, no pneumothorax, foobar 3"
HOSTILE = "<img src=x onerror=alert(1)>"


def chip(answer: str, label: str) -> str:
    """The value of the button that a label names."""
    found = re.search(rf'name="turn" value="([0-9a-f]+)"[^>]*aria-label="{re.escape(label)}"', answer)
    assert found, label
    return found[1]


def test_plan_is_shown_and_denied_words_reach_no_code(browser: Browser) -> None:
    answer = browser.post({"text": QUERY, "alone": "on"})
    assert "What was understood" in words_of(answer)
    assert "wanted Pleural effusion" in words_of(answer)
    assert "not Pneumothorax" in words_of(answer)
    assert "searched as words alone: foobar" in words_of(answer)


class Heard:
    """Notes what the encoder reads."""

    def __init__(self, page: Page) -> None:
        self.texts: list[str] = []
        self._encode = page.model.encode_texts

    def __call__(self, texts: list[str]) -> object:
        """The codes, of texts that are noted."""
        self.texts += texts
        return self._encode(texts)


def test_part_taken_out_is_not_heard_and_can_be_put_back(page_of: Callable[[], Page]) -> None:
    page = page_of()
    page.model.encode_texts = heard = Heard(page)  # type: ignore[method-assign, assignment]
    browser = entered(page)
    first = browser.post({"text": QUERY, "alone": "on"})
    turn = chip(first.text, "Take out: wanted Pleural effusion")
    second = browser.post({"text": QUERY, "alone": "on", "dropped": "", "turn": turn})
    assert f'name="dropped" value="{turn}"' in second.text
    back = chip(second.text, "Put back: wanted Pleural effusion")
    third = browser.post({"text": QUERY, "alone": "on", "dropped": turn, "turn": back})
    assert 'name="dropped" value=""' in third.text
    assert heard.texts == ["pleural effusion, foobar 3", "foobar 3", "pleural effusion, foobar 3"]
    assert 'name="alone" value="on"' in third.text, "the chip asks the same again"


def test_ambiguous_acronym_is_asked_back_and_its_answer_is_a_query(browser: Browser) -> None:
    answer = browser.post({"text": "MS 3", "alone": "on"})
    assert "MS can mean more than one thing" in words_of(answer)
    choices = [html.unescape(one) for one in re.findall(r'<button name="text" value="([^"]+)"', answer.text)]
    assert len(choices) >= 2
    assert "multiple sclerosis 3" in choices
    again = browser.post({"text": "multiple sclerosis 3", "alone": "on"})
    assert "wanted multiple sclerosis" in words_of(again)
    assert "more than one thing" not in words_of(again)


def test_denied_acronym_waits_for_its_answer_and_nothing_is_heard(page_of: Callable[[], Page]) -> None:
    page = page_of()
    page.model.encode_texts = heard = Heard(page)  # type: ignore[method-assign, assignment]
    answer = entered(page).post({"text": "no MS", "alone": "on"})
    assert answer.status_code == 200
    assert "MS can mean more than one thing" in words_of(answer)
    assert "Nothing was searched" in words_of(answer)
    assert "no multiple sclerosis" in re.findall(r'<button name="text" value="([^"]+)"', answer.text)
    assert "<article" not in answer.text
    assert heard.texts == []


def test_what_cannot_go_together_is_said_and_looked_for_all_the_same(browser: Browser) -> None:
    answer = words_of(browser.post({"text": "mitral regurgitation of the knee, 3", "alone": "on"}))
    assert "Please check: mitral regurgitation does not lie in the knee. It is looked for as it was asked." in answer
    assert "where Knee" in answer


class HostileMediator(Mediator):
    """Gives a concept whose name is markup, as if no check had been made."""

    def plan(self, query: str) -> Mediated:
        """The plan of the words, under a hostile name."""
        made = super().plan(query)
        assert made.plan is not None
        (one,) = made.plan.wanted
        hostile = replace(one, concept=Coded("SCT", HOSTILE, HOSTILE))
        return replace(made, plan=replace(made.plan, wanted=(hostile,)))


def test_markup_in_a_plan_is_text(page_of: Callable[[], Page]) -> None:
    browser = entered(replace(page_of(), mediator=HostileMediator()))
    answer = browser.post({"text": 'pneumonia "><b> 3', "alone": "on", "dropped": '"><script>'})
    assert answer.status_code == 200
    assert "<img src=x" not in answer.text
    assert "<b> 3" not in answer.text
    assert answer.text.count("<script>") == 1, "the page's own"
    assert html.escape(HOSTILE) in answer.text


def test_patient_identifier_is_refused_in_one_line(browser: Browser) -> None:
    answer = browser.post({"text": "pneumonia of MRN-1234567", "alone": "on"})
    assert answer.status_code == 400
    assert "leave it out, and search again" in words_of(answer)
    assert "<article" not in answer.text


def test_picture_has_no_plan(browser: Browser) -> None:
    from tests.client.page.test_page import png

    answer = browser.post({"by": "picture", "alone": "on"}, files={"picture": ("x.png", png(4))})
    assert answer.status_code == 200
    assert "What was understood" not in answer.text


def test_what_leaves_is_the_code_alone_whatever_the_plan(page_of: Callable[[], Page], monkeypatch: object) -> None:
    asked: list[tuple[object, ...]] = []

    def others(_: object, code_P: object, **more: object) -> None:
        asked.append((code_P.tobytes(), tuple(sorted(more))))  # type: ignore[attr-defined]

    page = page_of()
    monkeypatch.setattr(type(page.searcher), "others", others)  # type: ignore[attr-defined]
    browser = entered(page)
    browser.post({"text": "report 3, no effusion"})
    browser.post({"text": "report 3"})
    assert asked[0] == asked[1]
    assert asked[0][1] == ("gallery", "k")
    assert isinstance(page.searcher.index, SearchIndex)


def test_hits_are_held_against_the_plan_and_say_why(
    page_of: Callable[[], Page], write_studies: Callable[..., object]
) -> None:
    rows = [
        ("fits", "a", "1.png", "Pneumonia. 501", "F", "50"),
        ("denies", "b", "1.png", "No pneumonia. 501", "F", "50"),
    ]
    write_studies(NUM_PATIENTS, *rows)
    answer = entered(page_of()).post({"text": "pneumonia 501", "alone": "on", "gallery": "reports", "k": "20"}).text
    order = re.findall(r"<h3>(.*?)</h3>", answer)
    assert order.index("fits") == 0 < order.index("denies"), "their codes are one"
    assert '<li class="fits">pneumonia: named</li>' in answer
    assert '<li class="contradicts">pneumonia: denied</li>' in answer
    assert "14 nearest were held against the plan" in answer


def test_feedback_is_kept_here_by_the_digest_of_the_record(page_of: Callable[[], Page]) -> None:
    page = page_of()
    browser = entered(page)
    answer = browser.post({"text": "pneumonia 3", "alone": "on"}).text
    query = re.findall(r'name="query" value="([0-9a-f]{64})"', answer)[0]
    says = re.findall(r'name="says" value="(not [^"]+)"', answer)[0]
    kept = browser.post({"query": query, "says": says}, path="/feedback")
    assert "is not relevant to this search" in words_of(kept)
    state = page.searcher.site.state_folder
    (line,) = map(json.loads, (state / "feedback.jsonl").read_text().splitlines())
    assert (line["query"], line["handle"], line["relevant"]) == (query, says.split()[1], False)
    assert check_records(state / "queries" / "page") == "1 queries, each with its record"
    assert query == hashlib.sha256((state / "queries" / "page" / "queries.jsonl").read_bytes().rstrip()).hexdigest()


@pytest.mark.parametrize(
    ("query", "says"), [("a" * 64, "perhaps x"), ("<script>", "not x"), ("a" * 64, "relevant ../../x")]
)
def test_feedback_that_names_nothing_is_one_line_and_not_kept(
    page_of: Callable[[], Page], query: str, says: str
) -> None:
    page = page_of()
    answer = entered(page).post({"query": query, "says": says}, path="/feedback")
    assert answer.status_code == 400
    assert answer.text.count('role="alert"') == 1
    assert not (page.searcher.site.state_folder / "feedback.jsonl").exists()


def test_feedback_of_another_page_is_refused(browser: Browser) -> None:
    answer = browser.post({"token": "x", "query": "a" * 64, "says": "not x"}, path="/feedback")
    assert answer.status_code == 403
