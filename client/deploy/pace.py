"""How often Flower's SuperNode looks for a message, and for the reply to one: soon after the last, then less often.

Flower 1.41 sleeps 3 s where the server has no message and 0.5 s where a reply is not ready, whatever happened before.
Most of a short round was spent so. Its loop takes `sleep` from the module `time`; here the loop gets an object in that
place, whose sleep is a share of how long it has waited already. So a wait is never made longer by more than that share,
a site in a run is quick, and one that has had nothing to do for a minute asks the server as seldom as Flower's own.
"""

from __future__ import annotations

import time

from flwr.supernode import start_client_internal

SHARE = 1 / 20
"""Of what was waited already: what the next sleep may add."""

SHORTEST_SECONDS = 0.1
"""Of a sleep; a look at the server is an HTTP request on an open connection."""

_MESSAGE_SECONDS = 3
"""Flower's sleep where the server has no message; a shorter one waits for a reply or its parts."""


class Pace:
    """Sleeps in the place of the module `time` in Flower's loop.

    Its loop is one thread, and either waits for a message or for the reply to one.
    """

    def __init__(self) -> None:
        self._waits_for_message = True
        self._since = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep no longer than asked.

        Args:
            seconds: What Flower asks.
        """
        waits_for_message = seconds >= _MESSAGE_SECONDS
        if waits_for_message != self._waits_for_message:
            self._waits_for_message, self._since = waits_for_message, time.monotonic()
        waited = time.monotonic() - self._since
        time.sleep(min(seconds, max(SHORTEST_SECONDS, SHARE * waited)))


def pace_supernode() -> None:
    """Let the SuperNode of this process sleep by a pace of its own."""
    vars(start_client_internal)["time"] = Pace()
