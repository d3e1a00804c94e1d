"""How tasks reach the sites and answers come back, as the federation sees it: no Flower, no network, no order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


class Transport(Protocol):
    """How tasks reach the sites and answers come back."""

    def meet(self, *, least: int, deadline_seconds: float) -> dict[str, str]:
        """Bands of the patients of the sites that answer in time, by site name.

        Args:
            least: Sites that are waited for where fewer are there.
            deadline_seconds: Longest wait.
        """
        ...

    def arrivals(self, *, least: int, deadline_seconds: float) -> dict[str, str]:
        """Bands of the sites that came, or came back, since they were last asked for; waits only for `least` sites."""
        ...

    def num_here(self) -> int:
        """How many of the sites that were met are there."""
        ...

    def ask(
        self, task: Task, model: NamedArrays, plan: ArrayPlan, *, sites: tuple[str, ...], deadline_seconds: float
    ) -> Iterator[Answer]:
        """Answers as they come, until every site has answered or the deadline has passed.

        A site that is not there is answered for, with the reason `OFFLINE`.
        """
        ...
