"""Parts of a plan in words, and plans without some of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.mediator.lexical import Lexical
from client.mediator.mediator import Mediator
from client.mediator.parts import parts_of, without
from client.mediator.spoken import spoken, written_out
from client.mediator.understood import NOTHING_LEFT, understood
from common.terminology.acronyms import acronym_words, acronyms
from common.terminology.words import tokens
from simulations.mediation.queries import right_plans

QUERY = "CT of a 45-year-old woman with severe left pleural effusion and possible pneumonia, no pneumothorax"


def shown(query: str) -> list[tuple[str, str]]:
    return [(part.kind, part.words) for part in parts_of(Lexical().propose(query))]


def key(query: str, words: str) -> str:
    return next(part.key for part in parts_of(Lexical().propose(query)) if part.words == words)


def dropped(query: str, *words: str) -> frozenset[str]:
    return frozenset(key(query, one) for one in words)


def test_each_part_is_shown_in_words() -> None:
    assert sorted(shown(QUERY)) == sorted(
        [
            ("wanted", "severe Pleural effusion, left"),
            ("wanted", "pneumonia, possible"),
            ("not", "Pneumothorax"),
            ("image", "CT"),
            ("patient", "female"),
            ("patient", "45 years"),
        ]
    )


def test_part_taken_out_leaves_the_words_too_and_nothing_else() -> None:
    made = understood(QUERY, Mediator(), dropped=dropped(QUERY, "pneumonia, possible"))
    assert made.spoken == "CT of a 45-year-old woman with severe left pleural effusion"
    assert made.plan is not None
    assert [one.concept.meaning for one in made.plan.wanted] == ["Pleural effusion"]
    assert [one.concept.meaning for one in made.plan.excluded] == ["Pneumothorax"]


def test_exclusion_taken_out_does_not_become_a_wish() -> None:
    query = "no effusion or mass, with pneumonia"
    made = understood(query, Mediator(), dropped=dropped(query, "Effusion"))
    assert made.plan is not None
    assert [one.concept.meaning for one in made.plan.excluded] == ["Mass"]
    assert "effusion" not in made.spoken
    assert "mass" not in made.spoken


def test_nothing_left_is_said_and_the_words_are_searched() -> None:
    for query, gone in (("no effusion or mass", ()), ("pneumonia", ("pneumonia",))):
        made = understood(query, Mediator(), dropped=dropped(query, *gone))
        assert made.spoken == query
        assert made.notes == (NOTHING_LEFT,)


def test_words_that_are_too_many_are_searched_without_a_plan() -> None:
    made = understood("word " * 1000, Mediator())
    assert made.plan is None
    assert made.spoken == made.words
    assert "The words are searched as they stand." in made.notes[0]


def test_patient_identifier_is_refused_and_named() -> None:
    made = understood("pneumonia of MRN-1234567", Mediator())
    assert made.refused.endswith("leave it out, and search again")
    assert (made.words, made.spoken, made.plan) == ("", "", None)


def test_unknown_key_changes_nothing() -> None:
    plan = Lexical().propose(QUERY)
    assert without(QUERY, plan, {"0" * 16, "<script>"}) is plan
    assert understood(QUERY, Mediator(), dropped=frozenset({"x"})).dropped == frozenset()


def test_acronym_is_written_out_and_a_kind_of_image_is_not() -> None:
    assert written_out("CT with RUL mass, TR of the valve") == (
        "CT with right upper lobe of lung mass, tricuspid regurgitation of the valve"
    )


def test_ambiguous_acronym_is_asked_back_and_each_answer_is_understood() -> None:
    made = understood("MS", Mediator())
    (back,) = made.asked_back
    assert back.words == "MS"
    for meaning in back.meanings:
        again = understood(meaning.query, Mediator())
        assert not again.asked_back
        assert meaning.words in {part.words for part in again.parts}
    assert len({meaning.query for meaning in back.meanings}) == len(back.meanings) >= 2


def test_every_meaning_of_every_acronym_can_be_answered() -> None:
    found = [one for word in acronym_words() for one in acronyms(tokens(word.upper()))]
    choices = {sense.coded for one in found if len(one.senses) > 1 for sense in one.senses}
    assert len(choices) > 10
    lost = []
    for choice in choices:
        plan = Lexical().propose(choice.meaning.lower())
        said = {one.concept.code for one in (*plan.wanted, *plan.anatomy)} | {one.code for one in plan.modality}
        if choice.code not in said:
            lost.append(choice.meaning)
    assert lost == []


@pytest.mark.parametrize(
    ("query", "heard"),
    [
        ("stroke, no MS", "stroke"),
        ("lung mass without MS or effusion", "lung mass"),
        ("MS excluded, lung mass", "lung mass"),
        ("no MS", ""),
        ("show me cases without MS", ""),
    ],
)
def test_denied_acronym_is_asked_back_and_not_heard(query: str, heard: str) -> None:
    made = understood(query, Mediator())
    assert made.plan is not None
    assert made.spoken == heard
    assert (made.unanswered == "") == bool(heard), "where nothing is left, the question comes first"
    assert NOTHING_LEFT not in made.notes
    (back,) = made.asked_back
    assert back.words == "MS"
    for meaning in back.meanings:
        again = understood(meaning.query, Mediator())
        assert again.plan is not None
        assert not again.unanswered
        assert meaning.words in {one.concept.meaning for one in again.plan.excluded}


def test_denied_acronym_is_not_heard_when_all_else_is_taken_out() -> None:
    query = "lung mass, no MS"
    made = understood(query, Mediator(), dropped=dropped(query, "lung mass"))
    assert (made.spoken, bool(made.unanswered)) == ("", True)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(right_plans()), st.data())
def test_no_removal_lets_a_denied_word_be_heard(right: object, data: st.DataObject) -> None:
    query = right.query  # type: ignore[attr-defined]
    plan = Lexical().propose(query)
    gone = data.draw(st.sets(st.sampled_from([part.key for part in parts_of(plan)] or [""])))
    kept = without(query, plan, gone)
    said = spoken(query, replace(kept, text=kept.text or "-"))
    heard = {one.key for one in Lexical().propose(said).wanted}
    assert not heard & {one.key for one in plan.excluded}
    assert {part.key for part in parts_of(kept)} == {part.key for part in parts_of(plan)} - gone


@pytest.mark.parametrize("query", [right.query for right in right_plans()[::10]])
def test_keys_are_distinct_and_plain(query: str) -> None:
    keys = [part.key for part in parts_of(Lexical().propose(query))]
    assert len(set(keys)) == len(keys)
    assert all(len(one) == 16 and set(one) <= set("0123456789abcdef") for one in keys)
