"""How tasks reach the sites and answers come back, as the federation sees it: no Flower, no network, no order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from common.wire.flower import Reply, Task
from common.wire.update import ArrayPlan, NamedArrays

OFFLINE = "offline"
"""Reason of a site that could not be asked. No site can give it itself: what was not asked for costs nothing."""

LOST = "lost"
"""Reason of a site whose node was lost after it was asked."""


@dataclass(frozen=True)
class Answer:
    """What came back from one site: a decoded reply, or the reason why there is none."""

    site: str
    reply: Reply | None
    problem: str | None = None


@dataclass(frozen=True)
class Presence:
    """Who is there, as far as is known.

    Attributes:
        here: Sites that were met and whose nodes are there, sorted.
        not_ready: What the others say, by site: `preparing_40_10` or another reason code.
    """

    here: tuple[str, ...] = ()
    not_ready: Mapping[str, str] = field(default_factory=dict)


def nobody_watches(presence: Presence) -> None:
    """The watcher of a wait that nobody looks at."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """How sites are waited for.

    The wait ends as soon as one of these holds:

    1. `wanted` sites are there.
    2. `deadline_seconds` have passed, `needed` sites are there, and none says that it is still preparing its studies.
    3. Both `deadline_seconds` and `patience_seconds` have passed.

    Attributes:
        wanted: How many sites should be there.
        needed: How many are the least with which anything can be done.
        apart: Sites that are not counted, there or not.
        deadline_seconds: How long a site may take that could answer.
        patience_seconds: How long what is needed, and who prepares, is waited for.
        watch: Told who is there, at least once a second; what it raises ends the wait.
    """

    wanted: int
    needed: int
    deadline_seconds: float
    patience_seconds: float = 0.0
    apart: Collection[str] = frozenset()
    watch: Callable[[Presence], None] = nobody_watches


class Transport(Protocol):
    """How tasks reach the sites and answers come back."""

    def meet(self, wait: Wait) -> dict[str, str]:
        """Bands of the patients of the sites that answer in time, by site name."""
        ...

    def arrivals(self, wait: Wait) -> dict[str, str]:
        """Bands of the sites that came, or came back, since they were last asked for."""
        ...

    def num_here(self, *, apart: Collection[str] = frozenset()) -> int:
        """How many of the sites that were met are there, but for some that are not counted."""
        ...

    def present(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some sites that were met and are there, in their order."""
        ...

    def ask(
        self, task: Task, model: NamedArrays, plan: ArrayPlan, *, sites: tuple[str, ...], deadline_seconds: float
    ) -> Iterator[Answer]:
        """Answers as they come, until every site has answered or the deadline has passed.

        A site that is not there is answered for, with the reason `OFFLINE`.
        """
        ...
