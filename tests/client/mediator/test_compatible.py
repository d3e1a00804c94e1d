"""What cannot go together is said, what may is not, and no model puts it together."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from client.mediator.compatible import flags_of
from client.mediator.grounds import Grounds
from client.mediator.lexical import Lexical
from client.mediator.mediator import Mediator
from client.mediator.plan import Asked, Plan, Span
from client.mediator.query_log import record_of
from client.mediator.understood import understood
from client.mediator.verify import CHECKS, verify
from common.terminology.coded import Coded

TODAY = date(2026, 1, 15)
KNEE = "mitral regurgitation of the knee"
SAID = "mitral regurgitation does not lie in the knee"


def flagged(query: str) -> list[str]:
    return [flag.words for flag in flags_of(query, Lexical(TODAY).propose(query))]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (KNEE, SAID),
        ("severe MR of the left knee, mitral valve", SAID),
        ("knee mitral regurgitation", SAID),
        ("mitral valve of the knee", "mitral valve does not lie in the knee"),
        ("appendicitis in the brain", "appendicitis does not lie in the brain"),
        ("prostate cancer in a woman", "carcinoma of prostate does not go with female patients"),
        ("ovarian cyst, 40 year old man", "ovarian cyst does not go with male patients"),
        ("left prostate", "there is one prostate, and a left one is asked for"),
        ("left middle lobe pneumonia", "the middle lobe of lung lies on the right, and a left one is asked for"),
    ],
)
def test_what_cannot_go_together_is_said(query: str, said: str) -> None:
    assert flagged(query) == [said]


@pytest.mark.parametrize(
    "query",
    [
        "mitral regurgitation in the heart",
        "no mitral regurgitation of the knee",
        "brain MRI, lung cancer",
        "lung cancer in the brain",
        "stroke in heart surgery",
        "CT chest appendicitis",
        "mitral regurgitation, osteoarthritis of the knee",
        "liver in the chest",
        "deep vein thrombosis of the arm",
        "bowel perforation, perforation of the esophagus",
        "no prostate cancer in a woman",
        "breast cancer in a man",
        "left prostate nodule",
        "right-sided stomach and spleen",
        "gobbledygook of the knee",
    ],
)
def test_what_may_be_and_what_is_not_known_is_not_flagged(query: str) -> None:
    assert flagged(query) == []


def test_flagged_plan_is_searched_whole_shown_and_recorded() -> None:
    made = understood(KNEE, Mediator())
    assert made.spoken == KNEE
    assert made.plan == Lexical().propose(KNEE), "nothing is taken out for a flag"
    assert f"Please check: {SAID}." in made.sentences
    assert made.as_json()["flags"] == [SAID]
    kept = record_of(made, (), model="a", user="", alone=True, cpu_seconds=0.0, keep_words=False)
    assert kept["flags"] == [SAID]


def test_flag_goes_with_the_part_that_is_taken_out() -> None:
    knee = next(part for part in understood(KNEE, Mediator()).parts if part.words == "Knee")
    assert understood(KNEE, Mediator(), dropped=frozenset({knee.key})).flags == ()


def refused(words: str, plan: Plan, **without: bool) -> set[str]:
    checks = {name: check for name, check in CHECKS.items() if not without.get(name)}
    return {refusal.check for refusal in verify(plan, Grounds(words, today=TODAY), checks=checks)}


def test_model_that_adds_a_place_that_was_not_said_is_refused() -> None:
    words = "mitral regurgitation"
    knee = Asked(concept=Coded("SCT", "72696002", "Knee"), why=(Span(0, len(words)),))
    plan = replace(Lexical(TODAY).propose(words), anatomy=(knee,))
    assert refused(words, plan) == {"support"}
    assert refused(words, plan, support=True) == set(), "nothing else would see it"


def test_model_that_narrows_to_what_cannot_be_is_refused() -> None:
    words = "cyst in a man"
    right = Lexical(TODAY).propose(words)
    (cyst,) = right.wanted
    ovarian = Coded("99WARDROUND", "ovarian-cyst", "ovarian cyst")
    plan = replace(right, wanted=(replace(cyst, concept=ovarian),))
    assert refused(words, plan) == {"body"}
    assert refused(words, plan, body=True) == set(), "a broader word supports it, and nothing else would see it"
    words = "ovarian cyst in a man"
    assert refused(words, Lexical(TODAY).propose(words)) == set(), "the words say it"
