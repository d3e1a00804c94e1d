"""Refused questions, counted: the first of a kind goes into the site's log at once, the rest of its hour as a number.

Whoever brings questions here, the server for one, can bring many that are refused, and an entry for each would fill
the disk. A kind is a run, a reason and the hospital that is said to ask. An hour begins with the first one; when it is
over, one entry says how many came after it. It is written with the next question, for nothing is due while none comes.

No count is lost, and none is written twice, whenever the process is killed: a refusal is on the disk before its reply
leaves, first as an entry and then in the count, and a number that the log holds already is only taken out of the
count. Names are what a question says, so that they could be made up: those after the first `MOST_NAMED` of an hour are
counted together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.gate.recorder import NO_ROUND, Recorder
from client.private_database import Layout, private_database
from common.errors import TrustError

COUNT_FILE = "refused_questions.sqlite3"
HOUR = timedelta(hours=1)
MOST_NAMED = 32
"""Hospitals whose refusals of one hour are told apart."""

_NOBODY = ""
"""Stands for a hospital that is not named."""
_LAYOUT = Layout(
    version=1,
    schema="""
CREATE TABLE IF NOT EXISTS refused (
    run TEXT NOT NULL, reason TEXT NOT NULL, asker TEXT NOT NULL, since REAL NOT NULL, times INTEGER NOT NULL,
    PRIMARY KEY (run, reason, asker)
);
""",
    outlasts_power=False,
    error=TrustError,
    use="answer",
    remedy="make room, or move it away: what it counted since the last hour is lost then",
)


class RefusedQuestions:
    """Notes refusals; from one thread.

    Args:
        connection: Open on the count's file.
        recorder: Who keeps the site's log.
        now: The time.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        recorder: Recorder,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connection = connection
        self._recorder = recorder
        self._now = now

    def note(self, reason: str, *, run: str, asker: str | None) -> None:
        """Note that a question was refused.

        Args:
            reason: Its code.
            run: Digest of the run whose channel it came by.
            asker: The hospital that it names; None where it could not be read.

        Raises:
            TrustError: Log or count cannot be written.
        """
        self.write_what_is_over()
        kind = (run, reason, self._named(asker))
        with _told():
            begun = self._connection.execute(
                "SELECT 1 FROM refused WHERE run = ? AND reason = ? AND asker = ?", kind
            ).fetchone()
        values: tuple[object, ...]
        if begun is None:
            self._recorder.refused(reason, run=run, round_number=NO_ROUND)
            change, values = "INSERT INTO refused VALUES (?, ?, ?, ?, 0)", (*kind, self._now().timestamp())
        else:
            change, values = "UPDATE refused SET times = times + 1 WHERE run = ? AND reason = ? AND asker = ?", kind
        with _told(), self._connection:
            self._connection.execute(change, values)

    def write_what_is_over(self) -> None:
        """Write the number of each kind whose hour is over into the log, and begin anew.

        Raises:
            TrustError: Log or count cannot be written.
        """
        end = (self._now() - HOUR).timestamp()
        with _told():
            over = self._connection.execute("SELECT * FROM refused WHERE since <= ?", (end,)).fetchall()
        for run, reason, asker, since, times in over:
            if times:
                began = datetime.fromtimestamp(since, UTC).isoformat(timespec="microseconds")
                self._recorder.questions_refused(reason, run=run, asker=asker or None, since=began, times=times)
            with _told(), self._connection:
                self._connection.execute(
                    "DELETE FROM refused WHERE run = ? AND reason = ? AND asker = ?", (run, reason, asker)
                )

    def _named(self, asker: str | None) -> str:
        """The name that a refusal is counted under."""
        if asker is None:
            return _NOBODY
        with _told():
            names = {name for (name,) in self._connection.execute("SELECT DISTINCT asker FROM refused")} - {_NOBODY}
        return asker if asker in names or len(names) < MOST_NAMED else _NOBODY


@contextmanager
def opened_refusals(
    state_folder: Path, recorder: Recorder, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[RefusedQuestions]:
    """A hospital's count, made where there is none, readable by its owner alone.

    Raises:
        TrustError: The file is no count of this version, damaged, or the disk refuses it: nothing is answered then.
    """
    with private_database(state_folder / COUNT_FILE, _LAYOUT) as connection:
        yield RefusedQuestions(connection, recorder, now=now)


@contextmanager
def _told() -> Iterator[None]:
    """An error of the database as one of ours, in one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise TrustError(f"{COUNT_FILE}: cannot be read or written ({error}); {_LAYOUT.remedy}") from error
