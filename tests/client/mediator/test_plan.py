"""The plan: one form whatever the order, and nothing outside the grammar is read."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.mediator.plan import Ages, AskBack, Asked, Dates, Modality, Plan, Sex, Span
from client.mediator.plan_json import MOST_BYTES, plan_schema, read_plan
from common.errors import PlanError
from common.terminology.coded import SCHEMES, Coded

EFFUSION = Coded("SCT", "60046008", "Pleural effusion")
MASS = Coded("SCT", "4147007", "Mass")
LIVER = Coded("SCT", "10200004", "Liver")

spans = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 300), st.integers(1, 40))
why = st.lists(spans, min_size=1, max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
asked = st.builds(
    Asked,
    concept=st.sampled_from([EFFUSION, MASS, LIVER]),
    laterality=st.sampled_from(["", "left", "right", "bilateral"]),
    severity=st.sampled_from(["", "mild", "moderate", "severe"]),
    change=st.sampled_from(["", "new", "increased", "decreased", "stable"]),
    uncertain=st.booleans(),
    history=st.booleans(),
    weight=st.floats(0.01, 1),
    why=why,
)
modality = st.builds(Modality, code=st.sampled_from(["CT", "MR"]), why=why)
early, late = st.dates(date(1990, 1, 1), date(2005, 1, 1)), st.dates(date(2006, 1, 1), date(2030, 1, 1))
ambiguous = st.builds(AskBack, choices=st.just((EFFUSION, MASS)), why=why)
several = st.lists(asked, max_size=5, unique_by=lambda one: one.key).map(tuple)
plans = st.builds(
    Plan,
    text=st.text(st.characters(codec="utf-8"), max_size=80),
    wanted=several,
    excluded=several,
    anatomy=several,
    modality=st.lists(
        st.builds(Modality, code=st.sampled_from(["CT", "MR"]), why=why), max_size=2, unique_by=lambda m: m.code
    ).map(tuple),
    sex=st.none() | st.builds(Sex, value=st.sampled_from("FM"), why=why),
    age=st.none() | st.builds(Ages, least=st.integers(0, 40), most=st.none() | st.integers(40, 130), why=why),
    dates=st.none() | st.builds(Dates, first=st.none() | early, last=late, why=why),
    ask_back=st.lists(ambiguous, max_size=2, unique=True).map(tuple),
    not_understood=st.lists(spans, max_size=3, unique=True).map(tuple),
)


def whole() -> dict[str, Any]:
    """A plan with every part, as JSON."""
    at = (Span(0, 4),)
    plan = Plan(
        text="effusion",
        wanted=(Asked(concept=EFFUSION, why=at),),
        excluded=(Asked(concept=MASS, why=at),),
        anatomy=(Asked(concept=LIVER, why=at),),
        modality=(Modality(code="CT", why=at),),
        sex=Sex(value="F", why=at),
        age=Ages(least=40, most=None, why=at),
        dates=Dates(first=date(2020, 1, 31), last=None, why=at),
        ask_back=(AskBack(choices=(EFFUSION, MASS), why=at),),
        not_understood=at,
    )
    return json.loads(json.dumps(plan.as_json()))


def at(value: Any, path: str) -> tuple[Any, Any]:
    """The container and the key that a dotted path ends in."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        value = value[step]
    return value, last


def test_schema_is_a_schema_whose_every_object_is_closed_and_complete() -> None:
    schema = plan_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in [schema, *schema["$defs"].values()]:
        if one.get("type") == "object":
            assert one["additionalProperties"] is False
            assert one["required"] == list(one["properties"])
    assert tuple(schema["$defs"]["coded"]["properties"]["scheme"]["enum"]) == SCHEMES


@settings(max_examples=25)
@given(plans)
def test_plan_comes_back_from_its_canonical_form(plan: Plan) -> None:
    again = read_plan(plan.canonical)
    assert again == plan
    assert again.canonical == plan.canonical
    assert again.digest == plan.digest


@settings(max_examples=25)
@given(plans, st.randoms(use_true_random=False))
def test_plan_is_the_same_in_whatever_order_its_parts_come(plan: Plan, random: Any) -> None:
    shuffled = {
        name: tuple(random.sample(getattr(plan, name), len(getattr(plan, name))))
        for name in ("wanted", "excluded", "anatomy", "modality", "ask_back", "not_understood")
    }
    assert replace(plan, **shuffled).canonical == plan.canonical


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("tools", ["search"], "the whole: holds a field that the grammar does not know"),
        ("wanted.0.index", 1, "wanted.0: holds a field"),
        ("wanted.0.concept.patient", "Huber", "wanted.0.concept: holds a field"),
        ("version", 2, "version: is none of the values"),
        ("text", 3, "text: is of a wrong type"),
        ("text", "x" * 4001, "text: is too long"),
        ("text", "\ud800", "text: holds characters"),
        ("wanted", None, "wanted: is of a wrong type"),
        ("wanted.0.laterality", "up", "laterality: is none"),
        ("wanted.0.uncertain", "yes", "uncertain: is of a wrong type"),
        ("wanted.0.weight", 0, "weight: is too small"),
        ("wanted.0.weight", 1e300, "weight: is too large"),
        ("wanted.0.weight", True, "weight: is of a wrong type"),
        ("wanted.0.why", [], "why: holds too few"),
        ("wanted.0.why.0", [4, 4], "4 to 4 are no characters"),
        ("wanted.0.why.0", [0, 1.5], "why.0.1: is of a wrong type"),
        ("wanted.0.why.0", [0, 10**30], "why.0.1: is too large"),
        ("wanted.0.concept.scheme", "X", "scheme: is none"),
        ("wanted.0.concept.code", "1; DROP", "code: is not written"),
        ("modality.0.code", "ct", "code: is not written"),
        ("sex.value", "all", "sex.value: is none"),
        ("age.least", None, "age: both ends are open"),
        ("age.least", 131, "age.least: is too large"),
        ("age.most", 3, "age: begins after its end"),
        ("dates.first", "2020-02-30", "dates: is no day"),
        ("dates.first", "yesterday", "dates.first: is"),
        ("ask_back.0.choices", [], "choices: holds too few"),
    ],
)  # fmt: skip
def test_plan_outside_the_grammar_is_refused(path: str, value: Any, said: str) -> None:
    plan = whole()
    read_plan(json.dumps(plan))
    container, last = at(plan, path)
    container[last] = value
    with pytest.raises(PlanError, match=said) as refused:
        read_plan(json.dumps(plan))
    assert "Huber" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", list(whole()))
def test_plan_that_lacks_a_field_is_refused(name: str) -> None:
    plan = whole()
    del plan[name]
    with pytest.raises(PlanError, match="lacks a field"):
        read_plan(json.dumps(plan))


def test_plan_of_too_many_concepts_is_refused() -> None:
    plan = whole()
    plan["wanted"] = [{**plan["wanted"][0], "concept": {**vars(MASS), "code": str(number)}} for number in range(33)]
    with pytest.raises(PlanError, match="wanted: holds too many"):
        read_plan(json.dumps(plan))


def test_plan_that_says_a_concept_twice_is_refused() -> None:
    plan = whole()
    plan["wanted"].append({**plan["wanted"][0], "weight": 0.5})
    with pytest.raises(PlanError, match="wanted: a concept stands in it twice"):
        read_plan(json.dumps(plan))


@pytest.mark.parametrize(
    "text",
    [
        lambda plan: plan[:-1],
        lambda _: "",
        lambda plan: f"```json\n{plan}\n```",
        lambda plan: f"<html>{plan}</html>",
        lambda plan: plan.replace('"weight": 1.0', '"weight": NaN'),
        lambda plan: plan.replace('"weight": 1.0', '"weight": 1.0, "weight": 1.0'),
        lambda _: "[" * 30_000,
        lambda _: "9" * 30_000,
        lambda _: b"\xff\xfe",
        lambda plan: plan + " " * MOST_BYTES,
        lambda _: "[]",
        lambda _: "null",
    ],
)  # fmt: skip
def test_text_that_is_no_plan_is_refused(text: Callable[[str], str | bytes]) -> None:
    with pytest.raises(PlanError, match="plan: "):
        read_plan(text(json.dumps(whole())))


def test_plan_names_the_characters_it_stands_on() -> None:
    plan = Plan(
        text="",
        wanted=(Asked(concept=MASS, why=(Span(5, 9), Span(0, 4))),),
        sex=Sex(value="F", why=(Span(12, 17),)),
        not_understood=(Span(20, 22),),
    )
    assert plan.spans == (Span(0, 4), Span(5, 9), Span(12, 17))
