"""How soon Flower looks again for a part of a message that is not there yet.

A message is announced before its parts are uploaded, so whoever looks often sees it in between. Flower 1.41 then waits
one second, two, four, up to ten, for each part anew: in a round of small messages that was most of the time. Here the
waits are short, and as long in all as Flower's, two hours: its number of looks would end them before.
"""

from __future__ import annotations

from typing import TypedDict

from flwr.supercore.inflatable.inflatable_utils import pull_objects


class Looks(TypedDict):
    """Options of Flower's functions that pull objects.

    Attributes:
        initial_backoff: Seconds to the second look; each further wait is twice the last.
        backoff_cap: The longest.
        max_tries_per_object: Looks at one object; None for no bound but that of time.
    """

    initial_backoff: float
    backoff_cap: float
    max_tries_per_object: int | None


SOON = Looks(initial_backoff=0.02, backoff_cap=0.2, max_tries_per_object=None)


def look_again_soon() -> None:
    """Let Flower's own loops in this process look so.

    Raises:
        RuntimeError: Flower's function has no such options any more.
    """
    options = pull_objects.__kwdefaults__ or {}
    if not SOON.keys() <= options.keys():
        raise RuntimeError("flwr: pull_objects takes other options; install the version that pyproject.toml names")
    options.update(SOON)
