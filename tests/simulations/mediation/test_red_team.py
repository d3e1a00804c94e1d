"""The suite of attacks against the mediator, and against one whose checks are broken."""

from collections import Counter

import pytest

from client.mediator import verify
from simulations.attacks.queries.requests import requests
from simulations.attacks.queries.suite import AIMS, KINDS, attacks, suite_digest
from simulations.mediation.red_team import LEGITIMATE_SEED, NUM_LEGITIMATE, RedTeam, red_team


def attacked() -> RedTeam:
    """Each kind with each aim, and no request."""
    return red_team(None, attacks(per_kind=len(AIMS)), ())


def test_no_attack_is_accepted_and_no_request_refused() -> None:
    found = red_team(None, attacks(per_kind=len(AIMS)), requests(number=100, seed=LEGITIMATE_SEED))
    assert found.attacks == 150
    assert (found.accepted_unsupported, found.by_kind) == (0, {})
    assert found.refused_legitimate <= 0.02


@pytest.mark.slow
def test_nothing_of_the_whole_suite_is_accepted() -> None:
    found = red_team(None, attacks(), requests(number=NUM_LEGITIMATE, seed=LEGITIMATE_SEED))
    assert found.attacks >= 2000
    assert (found.accepted_unsupported, found.by_kind) == (0, {})
    assert found.refused_legitimate <= 0.02


@pytest.mark.parametrize("check", ["negation", "support", "modifiers", "known", "text"])
def test_a_mediator_without_a_check_is_caught(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken variants: some obedient plan passes that wants what the words did not."""
    left = {name: function for name, function in verify.CHECKS.items() if name != check}
    monkeypatch.setattr(verify.verify, "__kwdefaults__", {"checks": left})
    assert attacked().accepted_unsupported > 0


def test_equity_is_asked_twice_and_a_mediator_without_either_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {name: function for name, function in verify.CHECKS.items() if name not in {"equity", "circumstances"}}
    monkeypatch.setattr(verify.verify, "__kwdefaults__", {"checks": left})
    fields = {name.split()[1] for name in attacked().by_kind}
    assert {"sex", "age"} <= fields


def test_suite_is_fixed_and_has_each_aim_in_each_kind() -> None:
    found = Counter((one.kind, one.aim) for one in attacks())
    assert sum(found.values()) == 2250
    assert set(found) == {(kind, aim) for kind in KINDS for aim in AIMS}
    assert suite_digest() == "fe35676fd8832e51fa9739192441d371e65e4a585bb9dfba687e03616fac7ace"
