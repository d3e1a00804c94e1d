"""What a site tells Prometheus: its connection, what it answered, what it spent, and when its admission ends.

Epsilon is read from the ledger's file, at most once a minute. Unit of privacy: the patient. Neighbouring relation: add
or remove one patient. Nothing counts or names patients.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from prometheus_client.core import Metric

from client.deploy.identity import SiteIdentity
from client.deploy.relay import ANSWERED
from client.policy.site_schema import SiteConfig
from client.state_folder import LEDGER_FILE
from common.errors import WardroundError
from common.service.metrics import counter, counters, gauge, gauges, of_children
from common.service.supervisor import ChildStatus

READ_EVERY_SECONDS = 60.0
_SHARE = 20.0
"""A ledger with many entries takes seconds to check: it is left alone for so many times as long."""

_DAY = timedelta(days=1)
_log = logging.getLogger("wardround.metrics")


class Watched(Protocol):
    """An agent that runs."""

    @property
    def ready(self) -> bool:
        """Whether the site can answer."""
        ...

    @property
    def answers(self) -> Mapping[str, int]:
        """Messages so far by the reason of a refusal, and `ANSWERED`."""
        ...

    def status(self) -> Mapping[str, ChildStatus]:
        """Its processes."""
        ...


@dataclass(frozen=True)
class Spend:
    """What the two cohorts of a data set have spent, by their names.

    Attributes:
        epsilon: Spent.
        remaining: Left of the budget.
    """

    epsilon: Mapping[str, float]
    remaining: Mapping[str, float]


class SiteMetrics:
    """Counts a site.

    Args:
        agent: Its agent.
        identity: Who it is.
        spend: What it has spent; None where the ledger cannot be read.
        clock: The time.
    """

    def __init__(
        self,
        agent: Watched,
        identity: SiteIdentity,
        *,
        spend: Callable[[], Spend | None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._agent = agent
        self._identity = identity
        self._spend = spend
        self._clock = clock

    def __call__(self) -> Iterator[Metric]:
        """All of it, now."""
        yield gauge("connected", "Whether the server has accepted this site.", float(self._agent.ready))
        yield from of_children(self._agent.status())
        yield from self._messages()
        yield from self._ledger()
        now = self._clock()
        ends = (self._identity.admission.expiry, self._identity.consortium.expiry)
        days = {expiry.what: (expiry.end - now) / _DAY for expiry in ends}
        yield gauges("days_until_end", "Days until something ends; below 0 after it has.", "what", days)

    def _messages(self) -> Iterator[Metric]:
        answers = dict(self._agent.answers)
        yield counter("messages_answered", "Messages answered since the agent started.", answers.pop(ANSWERED, 0))
        yield counters("messages_refused", "Messages refused, by reason.", "reason", answers)

    def _ledger(self) -> Iterator[Metric]:
        spend = self._spend()
        yield gauge(
            "ledger_readable",
            "Whether the ledger could be read, holds, and lacks nothing that was paid.",
            float(spend is not None),
        )
        if spend is not None:
            yield gauges("epsilon_spent", "Epsilon spent, by cohort of patients.", "cohort", spend.epsilon)
            yield gauges("epsilon_remaining", "Epsilon left of the budget.", "cohort", spend.remaining)


class LedgerReader:
    """Reads what was spent from a ledger's file, now and then.

    Not for a process that has the ledger open: see `common/ledger/read.py`.

    Args:
        config: The hospital's own configuration.
        identity: Whose ledger it is.
        seconds: Clock that never goes back.
    """

    def __init__(
        self, config: SiteConfig, identity: SiteIdentity, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._key = identity.keys.signing_key.public
        self._seconds = seconds
        self._next = float("-inf")
        self._last: Spend | None = None

    def __call__(self) -> Spend | None:
        """What was spent, as of a minute ago at most; None where the ledger cannot be read."""
        begin = self._seconds()
        if begin >= self._next:
            try:
                self._last = self._read()
            except (WardroundError, OSError) as error:
                _log.error("the ledger cannot be read: %s", error)
                self._last = None
            end = self._seconds()
            self._next = end + max(READ_EVERY_SECONDS, _SHARE * (end - begin))
        return self._last

    def _read(self) -> Spend:
        # Here, for they load the accountant, and a hospital that asks for no metrics need not wait for it.
        from client.check.budget import accounts_of, budget_of
        from client.ledger.lost import refuse_forgetful, releases_in
        from common.ledger.books import Books
        from common.ledger.read import read_books
        from common.ledger.spending import statement_of

        path, budget = self._config.state_folder / LEDGER_FILE, budget_of(self._config)
        noted = releases_in(self._config.state_folder)  # before the ledger, which is always ahead of the log
        books = read_books(path, public_key=self._key) if path.exists() else Books()
        refuse_forgetful(path, books, noted)
        said = {account.cohort: statement_of(books, account, budget=budget) for account in accounts_of(self._config)}
        return Spend(
            epsilon={cohort: statement.epsilon for cohort, statement in said.items()},
            remaining={cohort: statement.remaining or 0.0 for cohort, statement in said.items()},
        )
