"""However many questions are refused, the log stays short, says how many there were, and holds; also after a crash."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flwr.app import Message, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.gate.recorder import NoRecorder, SiteRecorder
from client.gate.refused_questions import COUNT_FILE, MOST_NAMED, RefusedQuestions, opened_refusals
from client.gate.search_gate import SearchGate
from client.policy.release_rules import AllowedMechanisms
from common.errors import TrustError
from common.evidence.log_entries import Kind
from common.evidence.log_files import read_log
from common.wire.searching import QUESTION_TYPE, question_to_records
from tests.client.gate.test_search_gate import ALLOWED, ASKER, Both, found, question
from tests.common.evidence.logs import RUN, Side

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Log(NoRecorder):
    """A log that keeps what it was told, as the real one does, and may end the process before or after it did."""

    told: list[tuple[str, str | None, int]] = field(default_factory=list)
    sums: set[tuple[str, str | None, str]] = field(default_factory=set)
    dies: Callable[[], bool] = lambda: False

    def refused(self, reason: str, *, run: str, round_number: int) -> None:
        """See `Recorder`."""
        assert (run, round_number) == (RUN, 0)
        self.told.append((reason, None, 1))

    def questions_refused(self, reason: str, *, run: str, asker: str | None, since: str, times: int) -> None:
        """See `Recorder`."""
        assert run == RUN
        if (reason, asker, since) not in self.sums:
            self.sums.add((reason, asker, since))
            self.told.append((reason, asker, times))
        if self.dies():
            raise Killed

    @property
    def by_reason(self) -> Counter[str]:
        """How many refusals it holds."""
        counted: Counter[str] = Counter()
        for reason, _, times in self.told:
            counted[reason] += times
        return counted


@contextmanager
def count(folder: Path, log: Log, clock: list[datetime]) -> Iterator[RefusedQuestions]:
    with opened_refusals(folder, log, now=lambda: clock[0]) as refused:
        yield refused


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(["policy", "evidence", "trust"]),
            st.sampled_from([None, "riverside", "westgate"]),
            st.integers(0, 50),  # minutes since the one before
            st.booleans(),  # the process ends when it has written a number, before it is taken out of the count
        ),
        max_size=30,
    )
)
def test_no_count_is_lost_and_none_is_written_twice(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[str, str | None, int, bool]]
) -> None:
    folder, log, clock = tmp_path_factory.mktemp("state"), Log(), [NOW]
    noted: Counter[str] = Counter()
    for reason, asker, minutes, dies in asked:
        clock[0] += timedelta(minutes=minutes)
        log.dies = lambda dies=dies: dies  # type: ignore[misc]
        try:
            with count(folder, log, clock) as refused:
                refused.note(reason, run=RUN, asker=asker)
                noted[reason] += 1
        except Killed:
            pass
    log.dies = lambda: False
    clock[0] += HOUR
    with count(folder, log, clock) as refused:
        refused.write_what_is_over()
    assert log.by_reason == noted


def test_first_refusal_stands_in_the_log_at_once_and_others_of_the_hour_when_it_is_over(tmp_path: Path) -> None:
    log, clock = Log(), [NOW]
    with count(tmp_path, log, clock) as refused:
        for _ in range(5):
            refused.note("policy", run=RUN, asker="riverside")
        assert log.told == [("policy", None, 1)]
        clock[0] += HOUR - timedelta(seconds=1)
        refused.write_what_is_over()
        assert log.told == [("policy", None, 1)]
        clock[0] += timedelta(seconds=1)
        refused.write_what_is_over()
        assert log.told == [("policy", None, 1), ("policy", "riverside", 4)]


def test_names_that_are_made_up_do_not_fill_the_log(tmp_path: Path) -> None:
    log, clock = Log(), [NOW]
    with count(tmp_path, log, clock) as refused:
        for number in range(1000):
            refused.note("policy", run=RUN, asker=f"hospital-{number}")
        clock[0] += HOUR
        refused.write_what_is_over()
    assert log.by_reason == {"policy": 1000}
    assert len(log.told) == MOST_NAMED + 2, "the first of each name, of all others, and the number of those"


def test_count_that_is_damaged_answers_nothing(tmp_path: Path) -> None:
    (tmp_path / COUNT_FILE).write_bytes(b"no database" * 100)
    with pytest.raises(TrustError, match="move it away"), opened_refusals(tmp_path, Log()):
        pass


@pytest.mark.usefixtures("flower_runtime")
def test_ten_thousand_refused_questions_are_a_few_entries_and_the_log_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Most are none; a hundred are whole, each with a new head of the server, and against the policy."""
    caplog.set_level(logging.CRITICAL, logger="wardround.site")
    server, site = Side.create(tmp_path, "server"), Side.create(tmp_path, "north")
    clock = [NOW]
    with server.open() as centre, site.open() as hospital:
        both = Both(centre, hospital, policy=replace(ALLOWED, release_rules=(AllowedMechanisms({}),)))
        before = len(hospital.trail)
        recorder = SiteRecorder(hospital, site="north", server=centre.trail.owner)
        with opened_refusals(tmp_path, recorder, now=lambda: clock[0]) as refused:
            gate = SearchGate(both.policy, run=RUN, recorder=recorder, refused=refused)
            bare = question_to_records(question().sealed(ASKER), key=ASKER.public.hex)
            for _ in range(9_000):
                assert gate(Message(RecordDict(), 1, QUESTION_TYPE, ttl=60), found).error.reason == "malformed"
            for _ in range(900):
                assert gate(Message(bare, 1, QUESTION_TYPE, ttl=60), found).error.reason == "evidence"
            for _ in range(100):
                assert gate(both.passed_on(question()), found).error.reason == "policy"
            assert len(hospital.trail) - before == 3
            clock[0] += HOUR
            refused.write_what_is_over()
            both.policy = ALLOWED
            assert not both.answer(both.passed_on(question())).has_error(), "and one that is allowed is answered"
        trail = list(read_log(site.folder).trail)
    sums = [entry.fields for entry in trail if entry.kind is Kind.QUESTIONS_REFUSED]
    assert sorted((one["reason"], one["asker"], one["times"]) for one in sums) == [
        ("evidence", "riverside", 899),
        ("malformed", None, 8_999),
        ("policy", "riverside", 99),
    ]
    assert [entry.fields["reason"] for entry in trail if entry.kind is Kind.REFUSAL] == [
        "malformed",
        "evidence",
        "policy",
    ]
