"""The round's state machine against an oracle that reads the whole event list at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rounds import LATE, Phase, Round

SITES = ("a", "b", "c", "d")
OPENED, DEADLINE = 100.0, 10.0


@dataclass(frozen=True)
class Answered:
    """A site's reply: without a reason it is admitted."""

    site: str
    reason: str | None


@dataclass(frozen=True)
class Ticked:
    """The caller looks at its clock."""

    now: float


Event = Answered | Ticked

answered = st.builds(Answered, st.sampled_from([*SITES, "stranger"]), st.sampled_from([None, None, "nan"]))
ticked = st.builds(Ticked, st.sampled_from([OPENED, OPENED + 9.999, OPENED + DEADLINE, OPENED + 11]))
events = st.lists(st.one_of(answered, answered, ticked), max_size=12)


def new_round(asked: Sequence[str] = SITES, *, quorum: float = 0.5) -> Round:
    return Round(asked, quorum=quorum, opened_at=OPENED, deadline_seconds=DEADLINE)


def play(round_: Round, history: Sequence[Event]) -> list[bool]:
    """What `admit` and `drop` said of each answer."""
    counted = []
    for event in history:
        if isinstance(event, Ticked):
            round_.tick(event.now)
        elif event.reason is None:
            counted.append(round_.admit(event.site))
        else:
            counted.append(round_.drop(event.site, event.reason))
    return counted


def verdict(asked: Sequence[str], history: Sequence[Event]) -> tuple[list[str], dict[str, str], bool]:
    """Admitted, dropped and whether it ended: a site's first answer counts if no look at a late clock came before."""
    looks = [i for i, event in enumerate(history) if isinstance(event, Ticked) and event.now >= OPENED + DEADLINE]
    end = min(looks, default=len(history))
    first = {
        site: min(
            (i for i, event in enumerate(history) if isinstance(event, Answered) and event.site == site), default=end
        )
        for site in asked
    }
    counted = sorted((i, site) for site, i in first.items() if i < end)
    reasons = {site: history[i].reason for i, site in counted}  # type: ignore[union-attr]
    late = {site: LATE for site in asked if site not in reasons} if looks else {}
    return (
        [site for site, reason in reasons.items() if reason is None],
        {site: reason for site, reason in reasons.items() if reason is not None} | late,
        bool(looks) or len(counted) == len(asked),
    )


@given(asked=st.lists(st.sampled_from(SITES), unique=True, max_size=4), history=events, percent=st.integers(1, 100))
def test_round_follows_its_rules(asked: list[str], history: list[Event], percent: int) -> None:
    round_ = new_round(asked, quorum=percent / 100)
    play(round_, history)
    admitted, dropped, ended = verdict(asked, history)
    assert round_.admitted == admitted
    assert round_.dropped == dropped
    assert round_.waiting == tuple(site for site in asked if site not in admitted and site not in dropped)
    enough = len(admitted) >= 1 and Fraction(len(admitted), len(asked)) >= Fraction(percent, 100)
    assert round_.phase is (Phase.OPEN if not ended else Phase.MET if enough else Phase.MISSED)


@given(history=events, later=events)
def test_nothing_changes_after_the_end(history: list[Event], later: list[Event]) -> None:
    round_ = new_round()
    play(round_, [*history, Ticked(OPENED + DEADLINE)])
    before = (list(round_.admitted), dict(round_.dropped), round_.phase)
    assert not any(play(round_, later))
    assert (round_.admitted, round_.dropped, round_.phase) == before


@given(history=events)
def test_every_asked_site_is_counted_once(history: list[Event]) -> None:
    round_ = new_round()
    play(round_, history)
    assert sorted([*round_.admitted, *round_.dropped, *round_.waiting]) == sorted(SITES)


def test_site_that_was_not_asked_is_ignored() -> None:
    round_ = new_round(("a",))
    assert not round_.admit("stranger")
    assert not round_.drop("stranger", "nan")
    assert (round_.admitted, round_.dropped, round_.phase) == ([], {}, Phase.OPEN)


def test_second_answer_of_an_admitted_site_is_ignored() -> None:
    round_ = new_round()
    assert round_.admit("a")
    assert not round_.admit("a")
    assert not round_.drop("a", "nan")
    assert (round_.admitted, round_.dropped) == (["a"], {})


def test_second_answer_of_a_dropped_site_is_ignored() -> None:
    round_ = new_round()
    assert round_.drop("a", "nan")
    assert not round_.drop("a", "shape")
    assert not round_.admit("a")
    assert (round_.admitted, round_.dropped) == ([], {"a": "nan"})


def test_answer_after_the_last_site_is_ignored() -> None:
    round_ = new_round(("a", "b"))
    round_.admit("a")
    round_.drop("b", "nan")
    assert not round_.admit("b")
    assert (round_.admitted, round_.dropped, round_.phase) == (["a"], {"b": "nan"}, Phase.MET)


def test_answer_after_the_deadline_is_late() -> None:
    round_ = new_round(("a", "b"))
    round_.admit("a")
    round_.tick(OPENED + DEADLINE)
    assert not round_.admit("b")
    assert round_.dropped == {"b": LATE}


def test_look_before_the_deadline_ends_nothing() -> None:
    round_ = new_round()
    round_.tick(OPENED + DEADLINE - 1e-6)
    assert (round_.phase, round_.dropped) == (Phase.OPEN, {})


@pytest.mark.parametrize(
    ("quorum", "num_sites", "needed"),
    [
        (0.01, 3, 1),
        (0.5, 3, 2),
        (0.5, 4, 2),
        (1 / 3, 3, 1),
        (2 / 3, 3, 2),
        (0.1 + 0.2, 10, 3),  # a little above 0.3 in binary: still three of ten
        (0.7, 10, 7),
        (0.71, 10, 8),
        (1.0, 4, 4),
        (1.0, 1, 1),
    ],
)
def test_quorum_needs_exactly(quorum: float, num_sites: int, needed: int) -> None:
    asked = [f"site-{number}" for number in range(num_sites)]

    def phase_with(num_admitted: int) -> Phase:
        round_ = new_round(asked, quorum=quorum)
        for site in asked[:num_admitted]:
            round_.admit(site)
        round_.tick(OPENED + DEADLINE)
        return round_.phase

    assert phase_with(needed) is Phase.MET
    assert phase_with(needed - 1) is Phase.MISSED


def test_empty_cohort_misses_at_once() -> None:
    assert new_round(()).phase is Phase.MISSED
