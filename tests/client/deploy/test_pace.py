"""The SuperNode's pace, and that Flower's loop still sleeps where the pace expects it."""

from __future__ import annotations

import ast
import inspect
import time
from dataclasses import dataclass

import pytest
from flwr.supernode import start_client_internal

from client.deploy import pace
from client.deploy.pace import SHARE, SHORTEST_SECONDS, Pace, pace_supernode

MESSAGE, REPLY = 3, 0.5
"""What Flower's loop asks, in seconds."""


@dataclass
class Clock:
    """In the place of `time`: sleeping is what makes it later."""

    now: float = 0.0

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Make it later."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def slept(paced: Pace, seconds: float, clock: Clock) -> float:
    before = clock.now
    paced.sleep(seconds)
    return clock.now - before


def test_flower_sleeps_as_the_pace_expects() -> None:
    """A new version that sleeps elsewhere, or uses more of `time` than that, fails here."""
    source = ast.parse(inspect.getsource(start_client_internal))
    uses = [node for node in ast.walk(source) if isinstance(node, ast.Name) and node.id == "time"]
    sleeps = {
        function.name: sorted(call.args[0].value for call in ast.walk(function) if _is_sleep(call))  # type: ignore[attr-defined]
        for function in source.body
        if isinstance(function, ast.FunctionDef) and any(map(_is_sleep, ast.walk(function)))
    }

    assert sleeps == {"start_client_internal": [MESSAGE], "_push_messages": [REPLY, REPLY]}
    assert len(uses) == 3, "the loop uses more of `time` than its three sleeps"
    assert inspect.ismodule(vars(start_client_internal)["time"]), "the loop takes sleep from the module"


def _is_sleep(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"


def test_flowers_loop_sends_a_reply_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own function that waits for a reply; unpaced it sleeps half a second."""

    class Sent(Exception):
        """Ends Flower's function."""

    class State:
        looks = 0

        def get_messages_legacy(self, **_: object) -> list[object]:
            self.looks += 1
            if self.looks > 2:
                raise Sent
            return []

    monkeypatch.setitem(vars(start_client_internal), "time", time)  # put back after the test
    pace_supernode()
    begin = time.monotonic()
    with pytest.raises(Sent):
        start_client_internal._push_messages(State(), None, None, None)  # type: ignore[arg-type]

    assert time.monotonic() - begin < 2 * REPLY - 0.2


def test_sleep_is_a_share_of_what_was_waited_and_never_longer_than_asked(clock: Clock) -> None:
    paced = Pace()
    while clock.now < 3600:
        before = clock.now
        sleep = slept(paced, MESSAGE, clock)
        assert sleep == pytest.approx(min(MESSAGE, max(SHORTEST_SECONDS, SHARE * before)))

    assert slept(paced, MESSAGE, clock) == pytest.approx(MESSAGE)
    assert slept(paced, REPLY, clock) == pytest.approx(SHORTEST_SECONDS)


def test_reply_to_a_message_is_looked_for_anew_and_so_is_the_next_message(clock: Clock) -> None:
    paced = Pace()
    while clock.now < 600:
        paced.sleep(MESSAGE)
    began = clock.now
    while clock.now < began + 60:
        paced.sleep(REPLY)

    assert slept(paced, REPLY, clock) == pytest.approx(REPLY)
    assert slept(paced, MESSAGE, clock) == pytest.approx(SHORTEST_SECONDS)


def test_idle_site_asks_hardly_more_often_than_flowers_own(clock: Clock) -> None:
    paced, looks = Pace(), 0
    while clock.now < 3600:
        paced.sleep(MESSAGE)
        looks += 1

    assert looks < 1.1 * 3600 / MESSAGE
