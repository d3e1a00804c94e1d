"""The parts of a message: how large they are, and how soon Flower looks again for one that is not there yet.

Flower 1.41 cuts arrays into parts of 5 MiB, sends two at a time, and gives a call up in which nothing moves for 30 s. A
part is sent anew from its beginning where the line was lost in the middle of it. So at 64 kB/s a call would take 160 s,
and a line that is lost every two minutes would carry nothing. Here a part is small.

A message is announced before its parts are uploaded, so whoever looks often sees it in between. Flower 1.41 then waits
one second, two, four, up to ten, for each part anew: in a round of small messages that was most of the time. Here the
waits are short, and as long in all as Flower's, two hours: its number of looks would end them before.
"""

from __future__ import annotations

from typing import TypedDict

from flwr.app.message import array
from flwr.supercore.inflatable.inflatable_utils import pull_objects

PART_BYTES = 512 << 10
"""Of an array, in one part: two at a time cross a line of 64 kB/s in 16 s."""


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


_CUT = "FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE"

SOON = Looks(initial_backoff=0.02, backoff_cap=0.2, max_tries_per_object=None)


def cut_small() -> None:
    """Let this process cut arrays so.

    Raises:
        RuntimeError: Flower cuts them otherwise.
    """
    if _CUT not in vars(array):
        raise RuntimeError("flwr: arrays are cut otherwise; install the version that pyproject.toml names")
    vars(array)[_CUT] = PART_BYTES


def look_again_soon() -> None:
    """Let Flower's own loops in this process look so.

    Raises:
        RuntimeError: Flower's function has no such options any more.
    """
    options = pull_objects.__kwdefaults__ or {}
    if not SOON.keys() <= options.keys():
        raise RuntimeError("flwr: pull_objects takes other options; install the version that pyproject.toml names")
    options.update(SOON)
