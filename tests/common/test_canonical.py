"""One byte string for one JSON value."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.canonical import canonical_json, digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("abäß€"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abäß€"), inner, max_size=3),
    max_leaves=10,
)


def test_bytes_are_the_documented_ones() -> None:
    assert canonical_json({"b": [1, 0.5, None], "a": "ä"}) == '{"a":"ä","b":[1,0.5,null]}'.encode()


@given(JSON)
def test_value_survives(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2, max_size=6))
def test_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_digest_is_of_the_bytes() -> None:
    assert digest([1]) == hashlib.sha256(b"[1]").hexdigest()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_without_a_form_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": [value]})
