"""What one answer tells of a patient whose picture somebody holds: much, and nothing where nothing is answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from client.policy.site_policy import policy_of
from client.policy.site_schema import SearchLimits, SiteConfig
from client.search.desk import Desk
from common.search.answer import SiteAnswer
from common.search.question import Question
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject
from simulations.audits.privacy.two_worlds_search import CHECK, told_by_search


class Blind(Desk):
    """Tells the same distance of every study."""

    def answer(self, question: Question) -> SiteAnswer:
        """What production answers, with one distance for all."""
        found = super().answer(question)
        return replace(found, hits=tuple(replace(hit, distance=16) for hit in found.hits))


def nobody_may_ask(config: SiteConfig) -> Any:
    return policy_of(replace(config, search=SearchLimits(allowed=[])))


def test_who_holds_the_picture_learns_whether_the_patient_is_there(subject: Subject) -> None:
    found = told_by_search(PRODUCTION, subject)
    own, other = found["the picture itself"], found["a picture of another study"]
    assert own.num_patients > other.num_patients > 10
    assert own.interval.low > 0.6, "the positive control: the very code lies in the index"
    assert other.area < own.area


def test_desk_that_tells_every_distance_alike_tells_nothing(subject: Subject) -> None:
    for one in told_by_search(replace(PRODUCTION, desk=Blind), subject).values():
        refused_alike = one.num_refused / one.num_patients
        assert abs(one.area - 0.5) <= refused_alike


def test_hospital_that_answers_nobody_tells_nothing(subject: Subject) -> None:
    for one in told_by_search(replace(PRODUCTION, policy=nobody_may_ask), subject).values():
        assert one.num_refused == one.num_patients
        assert one.area == 0.5


def test_check_claims_nothing(subject: Subject) -> None:
    outcome = CHECK.outcome(PRODUCTION, subject)
    assert (outcome.holds, outcome.claimed_epsilon, outcome.lower_bound) == (None, None, None)
    assert "no epsilon is claimed" in outcome.sentence
