"""What a hospital answers others, and how much of its index a hospital that asks and asks can learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from client.policy.site_policy import policy_of
from client.policy.site_schema import SearchLimits, SiteConfig
from client.search.book import Book, opened_book
from client.search.build import build
from client.search.desk import Desk
from client.search.index import Gallery
from client.search.told_handles import ToldHandles, open_handles
from common.errors import PolicyRefusal, TrustError
from common.hashing.codes import Codes
from common.search.answer import SiteAnswer, check_site_answer
from common.search.question import Question, new_question
from tests.client.search.conftest import StandInModel, opened

NOW = datetime(2026, 11, 30, 12, tzinfo=timezone(timedelta(hours=1)))
LIMITS = SearchLimits(allowed=["riverside"], distance_step=1, most_answers=5)


class Hospital:
    """A hospital with an index, whose clock stands where it is put."""

    def __init__(self, site: SiteConfig, model: StandInModel, book: Book) -> None:
        self.config, self.model, self.book, self.now = site, model, book, NOW
        self.limits = LIMITS
        self.handles: ToldHandles = open_handles(site.state_folder, days=7)

    def answer(self, question: Question) -> SiteAnswer:
        """What its desk answers now."""
        config = replace(self.config, search=self.limits)
        desk = Desk(
            lambda: opened(config, self.model),
            policy_of(config),
            self.limits,
            self.book,
            self.handles,
            now=lambda: self.now,
        )
        return desk.answer(question)

    def question(self, code_P: Codes, *, asker: str = "riverside", most: int = 3) -> Question:
        """A question of now."""
        asked = new_question(code_P, asker=asker, model=self.model.digest, gallery="images", most=most)
        return replace(asked, asked_at=self.now.isoformat())


@pytest.fixture
def hospital(site: SiteConfig, model: StandInModel) -> Iterator[Hospital]:
    build(site, model)
    with opened_book(site.state_folder) as book:
        yield Hospital(site, model, book)


def codes(number: int, *, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (number, 8), np.uint8)


def test_answer_holds_the_nearest_studies_under_names_that_open_here_alone(hospital: Hospital) -> None:
    (code,) = codes(1)
    question = hospital.question(code)
    answer = hospital.answer(question)
    check_site_answer(answer, question=question.digest, most=5)
    index = opened(hospital.config, hospital.model)
    near = index.search(code, gallery=Gallery.IMAGES, k=3)
    assert [hit.distance for hit in answer.hits] == [one.distance for one in near]
    told = [hospital.handles.own(hit.handle, today=NOW.date()) for hit in answer.hits]
    assert told == [one.handle for one in near]
    assert not set(told) & {hit.handle for hit in answer.hits}


def test_distances_are_told_rounded_up(hospital: Hospital) -> None:
    hospital.limits = replace(LIMITS, distance_step=8)
    (code,) = codes(1)
    exact = [one.distance for one in opened(hospital.config, hospital.model).search(code, gallery="images", k=3)]  # type: ignore[arg-type]
    assert [hit.distance for hit in hospital.answer(hospital.question(code)).hits] == [(d + 7) // 8 * 8 for d in exact]


def test_no_more_is_told_than_the_policy_says_and_the_answer_says_so(hospital: Hospital) -> None:
    hospital.limits = replace(LIMITS, most_answers=2, distance_step=64)
    answer = hospital.answer(hospital.question(codes(1)[0], most=12))
    assert len(answer.hits) == 2


def test_stranger_other_model_and_old_or_second_question_are_refused(hospital: Hospital) -> None:
    (code,) = codes(1)
    with pytest.raises(PolicyRefusal, match=r"search\.allowed"):
        hospital.answer(hospital.question(code, asker="northgate"))
    with pytest.raises(PolicyRefusal, match="site index"):
        hospital.answer(replace(hospital.question(code), model="f" * 64))
    old = hospital.question(code)
    hospital.now += timedelta(minutes=6)
    with pytest.raises(TrustError, match="ask anew"):
        hospital.answer(old)
    question = hospital.question(code)
    hospital.answer(question)
    with pytest.raises(TrustError, match="asked before"):
        hospital.answer(question)


def test_hours_and_questions_an_hour_are_kept(hospital: Hospital) -> None:
    hospital.limits = replace(LIMITS, hours="13:00-14:00")
    with pytest.raises(PolicyRefusal, match=r"search\.hours"):
        hospital.answer(hospital.question(codes(1)[0]))
    hospital.limits = replace(LIMITS, questions_per_hour=3, nearby_bits=0)
    for code in codes(3):
        hospital.answer(hospital.question(code))
    with pytest.raises(PolicyRefusal, match="questions_per_hour"):
        hospital.answer(hospital.question(codes(1, seed=1)[0]))
    hospital.now += timedelta(minutes=61)
    hospital.answer(hospital.question(codes(1, seed=1)[0]))


def walked(hospital: Hospital, num_questions: int) -> set[str]:
    """The studies that a hospital learns of which starts anywhere and asks on around what it has, bit by bit."""
    rng, learned = np.random.default_rng(5), set()
    code = codes(1)[0]
    for number in range(num_questions):
        if number % 5 == 4:
            code = codes(1, seed=number)[0]
        near = code.copy()
        near[number % 8] ^= np.uint8(1 << rng.integers(8))
        hospital.now += timedelta(seconds=20)
        try:
            answer = hospital.answer(hospital.question(near, most=5))
        except PolicyRefusal:
            code = codes(1, seed=number)[0]
            continue
        learned |= {hospital.handles.own(hit.handle, today=hospital.now.date()) for hit in answer.hits}
    return learned


def test_index_that_is_walked_gives_away_what_a_day_allows_and_all_of_it_without_limits(hospital: Hospital) -> None:
    everything = len(opened(hospital.config, hospital.model))
    hospital.limits = replace(LIMITS, nearby_bits=12, nearby_per_day=3, studies_per_day=4, questions_per_hour=10**6)
    assert len(walked(hospital, 200)) <= 4 + LIMITS.most_answers - 1 < everything
    # The broken variant: nothing but the number of answers bounds it.
    hospital.limits = replace(LIMITS, nearby_per_day=10**6, studies_per_day=10**9, questions_per_hour=10**6)
    assert len(walked(hospital, 200)) == everything


def test_studies_of_a_day_add_up_over_questions_and_one_that_is_told_again_is_no_other(hospital: Hospital) -> None:
    hospital.limits = replace(LIMITS, studies_per_day=6, nearby_bits=0)
    first, other = codes(2)
    for _ in range(3):
        hospital.answer(hospital.question(first, most=5))
    hospital.answer(hospital.question(other, most=5))
    with pytest.raises(PolicyRefusal, match="studies_per_day"):
        hospital.answer(hospital.question(first))


def test_who_was_told_enough_is_answered_again_a_day_later_and_not_before(hospital: Hospital) -> None:
    hospital.limits = replace(LIMITS, studies_per_day=4, nearby_bits=0)
    asked = iter(codes(8))
    for _ in range(2):  # five studies are told, and five are more than four
        hospital.answer(hospital.question(next(asked), most=5))
        hospital.now += timedelta(hours=23)
        with pytest.raises(PolicyRefusal, match="studies_per_day"):
            hospital.answer(hospital.question(next(asked)))
        hospital.now += timedelta(hours=2)


def test_restart_forgets_no_question(site: SiteConfig, model: StandInModel) -> None:
    build(site, model)
    for number in range(4):
        with opened_book(site.state_folder) as book:
            hospital = Hospital(site, model, book)
            hospital.limits = replace(LIMITS, questions_per_hour=3)
            question = hospital.question(codes(4)[number])
            if number < 3:
                hospital.answer(question)
            else:
                with pytest.raises(PolicyRefusal, match="questions_per_hour"):
                    hospital.answer(question)


def test_damaged_book_answers_nothing(tmp_path: Path) -> None:
    (tmp_path / "search.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(TrustError, match="no question is answered"), opened_book(tmp_path):
        pass
