"""Words become plans: by hand, and by properties that hold of every query."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.chexpert_labels import LABELS
from client.mediator.coverage import content_words, coverage
from client.mediator.lexical import Lexical
from client.mediator.plan import Asked
from client.mediator.plan_json import read_plan
from client.mediator.sanitise import MOST_CHARACTERS
from common.errors import PlanError

LEXICAL = Lexical(today=date(2026, 1, 15))

FINDINGS = ("pleural effusion", "pneumothorax", "meningioma", "abscess", "hydronephrosis", "appendicitis", "fracture")
CUES = ("no", "without", "possible", "s/p", "history of", "left", "mild", "new", "not", "rule out")
PIECES = st.sampled_from(
    [
        *FINDINGS,
        *CUES,
        "kidney",
        "the brain",
        "CT",
        "MRI",
        "60 yo",
        "woman",
        "since 2019",
        "MS",
        "PE",
        ",",
        ";",
        ".",
        "or",
    ]
)
QUERIES = st.lists(PIECES, max_size=14).map(" ".join) | st.text(max_size=60)


def said(asked: tuple[Asked, ...]) -> set[str]:
    return {one.concept.meaning.lower() for one in asked}


def one(asked: tuple[Asked, ...]) -> Asked:
    (only,) = asked
    return only


def words_of(query: str, asked: Asked) -> list[str]:
    return [query[span.start : span.end] for span in asked.why]


def test_the_cardiologists_query_becomes_the_plan_that_was_meant() -> None:
    query = "similar cases to this echo with septal wall motion abnormality and mild TR, not post-op"
    plan = LEXICAL.propose(query)
    assert said(plan.wanted) == {"septal wall motion abnormality", "tricuspid regurgitation"}
    regurgitation = next(asked for asked in plan.wanted if asked.concept.code == "111287006")
    assert (regurgitation.concept.scheme, regurgitation.severity) == ("SCT", "mild")
    assert words_of(query, regurgitation) == ["mild", "TR"]
    assert said(plan.excluded) == {"post-operative state"}
    assert words_of(query, one(plan.excluded)) == ["not", "post-op"]
    assert [image.code for image in plan.modality] == ["US"]
    assert plan.text == "similar cases to this echo with septal wall motion abnormality and mild TR"
    assert not plan.not_understood
    assert coverage(query, plan) == 1.0


NIH_LABELS = (
    "Atelectasis|Cardiomegaly|Consolidation|Edema|Effusion|Emphysema|Fibrosis|Hernia|Infiltration|Mass|Nodule|"
    "Pleural_Thickening|Pneumonia|Pneumothorax"
)
PADCHEST_LABELS = (
    "air trapping|alveolar pattern|aortic elongation|apical pleural thickening|azygos lobe|bronchiectasis|"
    "calcified granuloma|costophrenic angle blunting|diaphragmatic eventration|endotracheal tube|heart insufficiency|"
    "hemidiaphragm elevation|hilar congestion|interstitial pattern|laminar atelectasis|mediastinal enlargement|"
    "osteosynthesis material|pacemaker|scoliosis|tracheostomy tube|vertebral degenerative changes|volume loss"
)


def test_what_public_data_sets_label_is_understood() -> None:
    """CheXpert and MIMIC-CXR, all of NIH ChestX-ray14, and what PadChest labels most; but "Pleural Other"."""
    labels = [*LABELS, *NIH_LABELS.replace("_", " ").split("|"), *PADCHEST_LABELS.split("|")]
    plans = {label: LEXICAL.propose(label.lower()) for label in labels}
    assert [label for label, plan in plans.items() if not plan.wanted or plan.not_understood] == ["Pleural Other"]


@pytest.mark.parametrize(
    ("query", "wanted", "excluded", "anatomy"),
    [
        ("meningioma without hydrocephalus", {"meningioma"}, {"hydrocephalus"}, set()),
        ("no mass, abscess or fracture; appendicitis", {"appendicitis"}, {"mass", "abscess", "fracture"}, set()),
        ("no effusion, left lower lobe pneumonia", {"pneumonia"}, {"effusion"}, {"lower lobe of lung"}),
        ("abscess, no fracture of the mandible", {"abscess"}, {"fracture"}, set()),
        ("fracture, not the wrist", {"fracture"}, {"wrist joint"}, set()),
        ("CT not MRI of the knee", set(), {"magnetic resonance"}, {"knee"}),
        ("family history of breast cancer, abscess", {"abscess"}, set(), set()),
        ("", set(), set(), set()),
    ],
)
def test_plan_wants_and_excludes_what_the_words_do(
    query: str, wanted: set[str], excluded: set[str], anatomy: set[str]
) -> None:
    plan = LEXICAL.propose(query)
    assert (said(plan.wanted), said(plan.excluded), said(plan.anatomy)) == (wanted, excluded, anatomy)


def test_modifiers_belong_to_what_they_stand_by() -> None:
    plan = LEXICAL.propose("new moderate left pleural effusion, enlarging abscess of the right kidney")
    by_name = {asked.concept.meaning.lower(): asked for asked in (*plan.wanted, *plan.anatomy)}
    effusion, abscess = by_name["pleural effusion"], next(asked for name, asked in by_name.items() if "abscess" in name)
    assert (effusion.laterality, effusion.severity, effusion.change) == ("left", "moderate", "new")
    assert (abscess.severity, abscess.change) == ("", "increased")
    assert "right" in {asked.laterality for asked in by_name.values()}


def test_doubt_and_past_are_kept_and_doubt_weighs_less() -> None:
    plan = LEXICAL.propose("possible abscess, s/p nephrectomy")
    by_name = {asked.concept.meaning: asked for asked in plan.wanted}
    assert (by_name["Abscess"].uncertain, by_name["Abscess"].history) == (True, False)
    assert (by_name["nephrectomy"].uncertain, by_name["nephrectomy"].history) == (False, True)
    assert by_name["Abscess"].weight < by_name["nephrectomy"].weight


def test_ambiguous_acronym_is_asked_back_and_wanted_as_nothing() -> None:
    plan = LEXICAL.propose("MS")
    assert not plan.wanted
    (back,) = plan.ask_back
    assert {choice.meaning.lower() for choice in back.choices} == {"multiple sclerosis", "mitral stenosis"}


def test_words_that_are_not_understood_are_said() -> None:
    query = "abscess with flumblewort"
    plan = LEXICAL.propose(query)
    assert [query[span.start : span.end] for span in plan.not_understood] == ["flumblewort"]
    assert coverage(query, plan) == 0.5


def test_concept_said_twice_is_wanted_once_and_for_certain() -> None:
    query = "possible abscess, abscess"
    asked = one(LEXICAL.propose(query).wanted)
    assert not asked.uncertain
    assert len(asked.why) == 3


def test_long_query_and_one_of_too_many_parts_are_refused() -> None:
    with pytest.raises(PlanError, match="2,000 characters"):
        LEXICAL.propose("x" * (MOST_CHARACTERS + 1))
    with pytest.raises(PlanError, match="ask for less"):
        LEXICAL.propose("MS, " * 40)


@settings(max_examples=50, deadline=None)
@given(QUERIES)
def test_every_plan_is_in_the_grammar_and_comes_back_from_it(query: str) -> None:
    plan = LEXICAL.propose(query)
    assert read_plan(plan.canonical) == plan
    assert LEXICAL.propose(query).digest == plan.digest


@settings(max_examples=50, deadline=None)
@given(QUERIES)
def test_every_span_lies_in_the_query_and_no_content_word_is_lost(query: str) -> None:
    plan = LEXICAL.propose(query)
    assert all(0 <= span.start < span.end <= len(query) for span in (*plan.spans, *plan.not_understood))
    held = {at for span in (*plan.spans, *plan.not_understood) for at in range(span.start, span.end)}
    assert all(set(range(token.start, token.end)) <= held for token in content_words(query))
    assert 0.0 <= coverage(query, plan) <= 1.0


@settings(max_examples=40, deadline=None)
@given(st.permutations(FINDINGS), st.integers(0, 6))
def test_order_of_clauses_does_not_change_what_is_asked(order: list[str], denied: int) -> None:
    clauses = [f"no {name}" if name == FINDINGS[denied] else name for name in order]
    plan = LEXICAL.propose("; ".join(clauses))
    assert said(plan.excluded) == {FINDINGS[denied]}
    assert said(plan.wanted) == set(FINDINGS) - {FINDINGS[denied]}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FINDINGS), st.sampled_from(FINDINGS), st.sampled_from(["no", "without", "no evidence of"]))
def test_without_the_negated_phrase_nothing_is_excluded(name: str, other: str, cue: str) -> None:
    if name == other:
        return
    with_it, without_it = LEXICAL.propose(f"{name}, {cue} {other}"), LEXICAL.propose(name)
    assert said(with_it.excluded) == {other}
    assert not without_it.excluded
    assert said(with_it.wanted) == said(without_it.wanted) == {name}
    assert other not in with_it.text
    assert name in with_it.text
