"""Our part of JSON Schema against the reference implementation, on damaged summaries and on small schemas."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CheckFailed
from server.report.schema_check import problems
from server.report.summary import load_schema

SCHEMA = load_schema()
REFERENCE = jsonschema.Draft202012Validator(SCHEMA)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.0, 0.5, 1.0, 2.5, -0.1, 1e300]),
    st.sampled_from(["", "patient", "completed", "ab" * 32, "2026-07-09T14:05:11Z", "nan"]),
    st.just([]),
    st.just([0.1, 0.2]),
    st.just([0.1, 0.2, 0.3]),
    st.just({}),
    st.just({"recall_at_10": 0.5}),
)


@pytest.fixture
def small(summary: dict[str, Any]) -> dict[str, Any]:
    """One site, a shown and a suppressed group, one baseline: every form, few of each."""
    suppressed = [group["suppressed"] for group in summary["groups"]]
    return summary | {
        "sites": {"Harbour": summary["sites"]["Harbour"]},
        "groups": [summary["groups"][suppressed.index(False)], summary["groups"][suppressed.index(True)]],
        "baselines": {"federated": summary["baselines"]["federated"]},
    }


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value but the root."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here for key, member in members for here in [(*at, key), *places(member, (*at, key))]]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_problems_agree_with_the_reference_on_damaged_summaries(small: dict[str, Any], data: st.DataObject) -> None:
    damaged = copy.deepcopy(small)
    *parents, last = data.draw(st.sampled_from(places(damaged)))
    holder = damaged
    for key in parents:
        holder = holder[key]
    match data.draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            holder[last] = data.draw(VALUES)
        case "remove":
            del holder[last]
        case _ if isinstance(holder, dict):
            holder["unheard_of"] = data.draw(VALUES)
    assert (not list(problems(damaged, SCHEMA, root=SCHEMA))) == REFERENCE.is_valid(damaged)


@given(
    value=VALUES,
    schema=st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["number", "integer", "boolean", ["string", "null"], ["array", "object"]]),
            "const": st.sampled_from([1, True, 1.0, None, "patient"]),
            "enum": st.sampled_from([[0, "nan"], [False, None], [1.0]]),
            "minimum": st.sampled_from([0, 0.5]),
            "maximum": st.sampled_from([0, 1]),
            "exclusiveMinimum": st.just(0),
            "pattern": st.sampled_from(["^[0-9a-f]{64}$", "at"]),
            "minItems": st.just(1),
            "maxItems": st.just(2),
            "items": st.just({"type": "integer"}),
            "required": st.just(["recall_at_10"]),
            "additionalProperties": st.sampled_from([False, {"type": "string"}, {"maximum": 0.5}]),
            "anyOf": st.just([{"type": "integer"}, {"minItems": 3}]),
        },
    ),
)
@settings(max_examples=400, deadline=None)
def test_problems_agree_with_the_reference_on_small_schemas(value: Any, schema: dict[str, Any]) -> None:
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (not list(problems(value, schema, root=schema))) == expected


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (True, {"const": 1}, False),
        (1.0, {"const": 1}, True),
        (0, {"enum": [False, None]}, False),
        (True, {"type": "integer"}, False),
        (2.0, {"type": "integer"}, True),
    ],
)
def test_problems_know_that_true_is_not_one(value: object, schema: dict[str, Any], *, fits: bool) -> None:
    assert jsonschema.Draft202012Validator(schema).is_valid(value) is fits
    assert (not list(problems(value, schema, root={}))) is fits


def test_problems_refuse_a_keyword_they_do_not_know() -> None:
    with pytest.raises(CheckFailed, match="uniqueItems"):
        list(problems([], {"uniqueItems": True}, root={}))
