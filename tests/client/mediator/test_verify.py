"""Each check refuses a plan that the others let pass, and a check that is taken away is missed."""

from dataclasses import replace
from datetime import date

import pytest

from client.mediator.grounds import Grounds
from client.mediator.identifiers import identifiers
from client.mediator.lexical import Lexical
from client.mediator.plan import Ages, Asked, Dates, Modality, Plan, Sex, Span
from client.mediator.verify import CHECKS, verify
from common.terminology.coded import Coded

TODAY = date(2026, 1, 15)
WORDS = "mild left pleural effusion without pneumothorax on CT in a woman"
WHY = (Span(0, len(WORDS)),)
EFFUSION = Coded("SCT", "60046008", "Pleural effusion")
PNEUMOTHORAX = Coded("SCT", "36118008", "Pneumothorax")
GOUT = Coded("99WARDROUND", "gout", "gout")
RIGHT = Plan(
    text="mild left pleural effusion on CT in a woman",
    wanted=(Asked(concept=EFFUSION, laterality="left", severity="mild", why=WHY),),
    excluded=(Asked(concept=PNEUMOTHORAX, why=WHY),),
    modality=(Modality(code="CT", why=WHY),),
    sex=Sex(value="F", why=WHY),
)
WANTED = RIGHT.wanted[0]


def refused(plan: Plan, words: str = WORDS, **without: bool) -> set[str]:
    checks = {name: check for name, check in CHECKS.items() if not without.get(name)}
    return {refusal.check for refusal in verify(plan, Grounds(words, today=TODAY), checks=checks)}


def with_wanted(**changes: object) -> Plan:
    return replace(RIGHT, wanted=(replace(WANTED, **changes),))  # type: ignore[arg-type]


WRONG = {
    "unsaid concept": (replace(RIGHT, wanted=(WANTED, Asked(concept=GOUT, why=WHY))), "support"),
    "unsaid exclusion": (replace(RIGHT, excluded=(*RIGHT.excluded, Asked(concept=GOUT, why=WHY))), "support"),
    "unsaid place": (replace(RIGHT, anatomy=(Asked(concept=Coded("SCT", "12738006", "Brain"), why=WHY),)), "support"),
    "stands elsewhere": (with_wanted(why=(Span(0, 4),)), "support"),
    "denied is wanted": (replace(RIGHT, wanted=(WANTED, Asked(concept=PNEUMOTHORAX, why=WHY))), "negation"),
    "said is excluded": (replace(RIGHT, wanted=(), excluded=(*RIGHT.excluded, WANTED)), "negation"),
    "other name": (with_wanted(concept=replace(EFFUSION, meaning="<b>x</b>")), "known"),
    "other side": (with_wanted(laterality="right"), "modifiers"),
    "other severity": (with_wanted(severity="severe"), "modifiers"),
    "unsaid change": (with_wanted(change="new"), "modifiers"),
    "unsaid past": (with_wanted(history=True), "modifiers"),
    "beyond the words": (with_wanted(why=(*WHY, Span(0, len(WORDS) + 1))), "places"),
    "other image": (replace(RIGHT, modality=(*RIGHT.modality, Modality(code="MR", why=WHY))), "circumstances"),
    "other sex": (replace(RIGHT, sex=Sex(value="M", why=WHY)), "circumstances"),
    "unsaid dates": (replace(RIGHT, dates=Dates(first=TODAY, last=None, why=WHY)), "circumstances"),
    "unsaid age": (replace(RIGHT, age=Ages(least=40, most=None, why=WHY)), "equity"),
    "missing exclusion": (replace(RIGHT, excluded=()), "complete"),
    "missing sex": (replace(RIGHT, sex=None), "complete"),
    "missing image": (replace(RIGHT, modality=()), "complete"),
    "all patients": (Plan(text=""), "complete"),
    "other text": (replace(RIGHT, text="gout"), "text"),
    "denied text": (replace(RIGHT, text="pneumothorax"), "text"),
    "named patient": (replace(RIGHT, text="MRN 1234567"), "identifiers"),
}


def test_right_plan_passes() -> None:
    assert refused(RIGHT) == set()
    assert refused(Lexical(TODAY).propose(WORDS)) == set()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_plan_is_refused(name: str) -> None:
    plan, check = WRONG[name]
    assert check in refused(plan)


def test_denied_acronym_is_neither_left_out_nor_heard() -> None:
    words = "lung mass, no MS"
    right = Lexical(TODAY).propose(words)
    assert right.ask_back
    assert refused(words=words, plan=right) == set()
    meaning = right.ask_back[0].choices[0]
    settled = replace(right, ask_back=(), excluded=(Asked(concept=meaning, why=(Span(0, len(words)),)),))
    assert refused(words=words, plan=settled) == set(), "a model may choose a meaning"
    left_out = replace(right, ask_back=())
    assert refused(words=words, plan=left_out) == {"complete"}
    assert refused(words=words, plan=left_out, complete=True) == set(), "nothing else would see it"
    heard = replace(right, text="lung mass, MS")
    assert refused(words=words, plan=heard) == {"text"}
    assert refused(words=words, plan=heard, text=True) == set(), "nothing else would see it"


def test_narrower_concept_is_supported_and_a_broader_one_is_not() -> None:
    plan = Plan(text="effusion", wanted=(Asked(concept=EFFUSION, why=(Span(0, 8),)),))
    assert refused(plan, "effusion") == set()
    broad = Lexical(TODAY).propose("effusion").wanted[0].concept
    assert "support" in refused(with_wanted(concept=broad))


def test_equity_refuses_a_sex_that_nobody_asked_for() -> None:
    words = "meningioma"
    why = (Span(0, 10),)
    plan = replace(Lexical(TODAY).propose(words), sex=Sex(value="M", why=why))
    assert {"equity", "circumstances"} <= refused(plan, words)
    # Narrower than the ages that were asked is narrowing as well; wider is not what was asked.
    words = "meningioma over 60 years old"
    asked = Lexical(TODAY).propose(words)
    narrow, wide = (replace(asked, age=Ages(least=least, most=None, why=why)) for least in (70, 40))
    assert "equity" in refused(narrow, words)
    assert refused(wide, words) == {"circumstances"}


@pytest.mark.parametrize(
    ("taken", "name"),
    [("negation", "denied is wanted"), ("support", "unsaid concept"), ("equity", "unsaid age")],
)
def test_a_check_that_is_taken_away_is_missed(taken: str, name: str) -> None:
    """The broken variants: each lets its plan pass, or no other check is named for the same reason."""
    plan, check = WRONG[name]
    assert taken == check
    assert taken not in refused(plan, **{taken: True})
    if taken != "equity":  # an age that was not asked is refused twice: as unasked, and as leaving people out
        text = plan if taken == "support" else replace(plan, text=RIGHT.text)
        assert refused(text, **{taken: True}) == set()


@pytest.mark.parametrize(
    "words",
    [
        "find MRN 123456",
        "same as patient 0012345",
        "accession A12345",
        "DOB 01/02/1960",
        "born on 3 May 1970, embolism",
        "Mr Smith with pneumonia",
        "patient John Doe with cough",
        "DOE^JOHN chest",
        "123-45-6789",
        "study 1.2.840.113619.2.5.17",
        "a case named Miller",
        "write to a.b@example.org",
    ],
)
def test_words_that_name_a_patient_are_refused(words: str) -> None:
    assert identifiers(words)
    assert "identifiers" in refused(Lexical(TODAY).propose(words), words)


@pytest.mark.parametrize(
    "words",
    ["MS lesions", "MR Brain", "Crohn disease", "newborn with cyst", "2010 - 2012", "L4-L5, 30 mm", "so-called Bull"],
)
def test_words_that_name_nobody_are_not(words: str) -> None:
    assert identifiers(words) == ()
