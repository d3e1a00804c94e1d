"""Pair keys: two sites come to the same, nobody else does, and each round, step and pair has one of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.errors import PairKeyError
from common.pair_noise.keys import PairKey, PairStatement, step_key
from common.trust.keys import SigningKey

RUN, OTHER_RUN = "a" * 64, "b" * 64
CONTEXT, OTHER_CONTEXT = "c" * 64, "d" * 64


def pair_key(site: str, *, run: str = RUN, signing: SigningKey | None = None) -> PairKey:
    return PairKey(site=site, run=run, signing_key=signing or SigningKey.fresh())


def test_two_sites_come_to_one_key_and_a_third_to_another() -> None:
    north, south, west = map(pair_key, ("north", "south", "west"))
    assert north.shared_with(south.statement) == south.shared_with(north.statement)
    assert len({north.shared_with(south.statement), north.shared_with(west.statement)}) == 2


def test_key_is_of_the_run_and_of_the_process() -> None:
    signing = SigningKey.fresh()
    first, again = (pair_key("north", signing=signing) for _ in range(2))
    south = pair_key("south")
    assert first.statement.key != again.statement.key, "a restart must not draw from an old key"
    assert first.shared_with(south.statement) != again.shared_with(south.statement)


def test_names_enter_the_key() -> None:
    """One key under two names, as a server might present it, gives two pair keys."""
    north, south = pair_key("north"), pair_key("south")
    renamed = replace(south.statement, site="west")
    assert north.shared_with(south.statement) != north.shared_with(renamed)


def test_step_keys_differ_by_pair_context_and_step() -> None:
    pairs = [pair_key("north").shared_with(pair_key(name).statement) for name in ("south", "west")]
    keys = {
        step_key(pair, context=context, step=step)
        for pair in pairs
        for context in (CONTEXT, OTHER_CONTEXT)
        for step in range(3)
    }
    assert len(keys) == 12
    assert step_key(pairs[0], context=CONTEXT, step=1) in keys


def test_statement_holds_for_its_signer_and_run_alone() -> None:
    signing = SigningKey.fresh()
    statement = pair_key("north", signing=signing).statement
    statement.check(signing.public, run=RUN)
    with pytest.raises(PairKeyError, match="another run"):
        statement.check(signing.public, run=OTHER_RUN)
    with pytest.raises(PairKeyError, match="signature"):
        statement.check(SigningKey.fresh().public, run=RUN)
    for changed in ({"site": "south"}, {"key": pair_key("north").statement.key}, {"signature": "0" * 128}):
        with pytest.raises(PairKeyError, match="signature"):
            replace(statement, **changed).check(signing.public, run=RUN)


def test_key_of_small_order_is_refused() -> None:
    """With it every site would come to the same secret: all zeros (RFC 7748, section 6.1)."""
    weak = replace(pair_key("south").statement, key="00" * 32)
    with pytest.raises(PairKeyError, match="small order"):
        pair_key("north").shared_with(weak)


def test_statement_is_read_as_it_was_written() -> None:
    statement = pair_key("north").statement
    assert PairStatement.from_json(statement.as_json()) == statement


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        7,
        {"site": "north", "run": RUN, "key": "0" * 64},
        {"site": "north", "run": RUN, "key": "0" * 63, "signature": "0" * 128},
        {"site": "north", "run": RUN, "key": 7, "signature": "0" * 128},
        {"site": "", "run": RUN, "key": "0" * 64, "signature": "0" * 128},
        {"site": "n" * 201, "run": RUN, "key": "0" * 64, "signature": "0" * 128},
        {"site": "north", "run": RUN, "key": "0" * 64, "signature": "0" * 128, "more": 1},
    ],
)
def test_what_is_no_statement_is_refused(value: Any) -> None:
    with pytest.raises(PairKeyError):
        PairStatement.from_json(value)
