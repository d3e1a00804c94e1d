"""The scheduler hands every run that has not ended to the carrier again, whatever was killed; one at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import CheckpointError, TrustError
from server.deploy import scheduler as scheduler_module
from server.deploy.runs import RUNS_FOLDER, Ending, Outcome, RunFolder, Standing, Wanted, all_runs, find_run
from server.deploy.scheduler import LONGEST_START_SECONDS, MOST_ATTEMPTS, RunScheduler


@dataclass
class FakeCarrier:
    """Counts what it is handed; `alive` are the runs that it says go on."""

    submitted: list[bytes] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    alive: set[int] = field(default_factory=set)

    def submit(self, app: bytes) -> int:
        """See `Carrier`."""
        self.submitted.append(app)
        self.alive.add(len(self.submitted))
        return len(self.submitted)

    def is_alive(self, run_id: int) -> bool:
        """See `Carrier`."""
        return run_id in self.alive

    def stop(self, run_id: int) -> None:
        """See `Carrier`."""
        self.stopped.append(run_id)
        self.alive.discard(run_id)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def carrier() -> FakeCarrier:
    return FakeCarrier()


@pytest.fixture
def scheduler(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> RunScheduler:
    monkeypatch.setattr(RunFolder, "bundle", lambda run: SimpleNamespace(app=run.key.encode()))
    return RunScheduler(tmp_path, clock=clock)


def a_run(folder: Path, key: str = "aaaa") -> RunFolder:
    run = RunFolder(folder / RUNS_FOLDER / key)
    run.want(Wanted.RUN)
    return run


def test_a_wanted_run_is_submitted_once(tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier) -> None:
    a_run(tmp_path)
    scheduler.tick(carrier, 1)
    scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa"]


def test_the_second_run_waits_for_the_end_of_the_first(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier
) -> None:
    first, _ = a_run(tmp_path, "aaaa"), a_run(tmp_path, "bbbb")
    scheduler.tick(carrier, 1)
    scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa"]
    first.end(Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0))
    scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa", b"bbbb"]


def test_a_completed_run_is_opened_for_searching_where_that_is_wanted_and_again_after_a_pause(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    run = a_run(tmp_path)
    run.end(Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0))
    scheduler.tick(carrier, 1)
    assert carrier.submitted == []
    run.want(Wanted.SEARCH)
    scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa"]
    assert run.standing is Standing.COMPLETED
    with run.alone():
        scheduler.tick(carrier, 1)
    for _ in range(3):  # it was cut off: not again and again within the same second
        scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa"]
    clock.now += 60
    scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa", b"aaaa"]
    assert run.outcome is not None


def test_a_run_that_is_wanted_goes_before_searching_and_waits_until_that_has_let_go(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier
) -> None:
    searched = a_run(tmp_path, "aaaa")
    searched.end(Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0))
    searched.want(Wanted.SEARCH)
    scheduler.tick(carrier, 1)
    with searched.alone():
        scheduler.tick(carrier, 1)
        a_run(tmp_path, "bbbb")
        scheduler.tick(carrier, 1)
        assert carrier.submitted == [b"aaaa"], "two processes would write to one log"
    scheduler.tick(carrier, 1)
    assert carrier.submitted == [b"aaaa", b"bbbb"]


def test_a_killed_process_is_noticed_by_its_lock_and_the_run_goes_on(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    run = a_run(tmp_path)
    scheduler.tick(carrier, 1)
    with run.alone():
        scheduler.tick(carrier, 1)
        assert run.standing is Standing.RUNNING
    scheduler.tick(carrier, 1)  # Flower still believes that it runs
    assert carrier.stopped == [1]
    clock.now += 60
    scheduler.tick(carrier, 1)
    assert len(carrier.submitted) == 2


def test_a_new_superlink_gets_the_run_again_and_is_not_asked_of_the_old_one(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    a_run(tmp_path)
    scheduler.tick(carrier, 1)
    scheduler.tick(carrier, 2)
    clock.now += 60
    scheduler.tick(carrier, 2)
    assert len(carrier.submitted) == 2
    assert carrier.stopped == []


def test_a_run_that_ends_while_it_is_looked_at_was_not_cut_short(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path)
    scheduler.tick(carrier, 1)

    def ends(_: int) -> bool:
        run.end(Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0))
        return False

    monkeypatch.setattr(carrier, "is_alive", ends)
    scheduler.tick(carrier, 1)
    assert [event["event"] for event in run.follow()[0]] == []


def test_a_process_that_outlives_its_superlink_is_left_to_end(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    run = a_run(tmp_path)
    scheduler.tick(carrier, 1)
    with run.alone():
        clock.now += 60
        scheduler.tick(carrier, 2)
        assert len(carrier.submitted) == 1


def test_a_run_that_never_begins_is_given_up_and_tried_again(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    a_run(tmp_path)
    scheduler.tick(carrier, 1)
    clock.now += LONGEST_START_SECONDS + 1
    scheduler.tick(carrier, 1)
    assert carrier.stopped == [1]


def test_a_run_that_is_cut_short_without_end_fails_with_a_reason(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    run = a_run(tmp_path)
    for _ in range(10 * MOST_ATTEMPTS):
        scheduler.tick(carrier, 1)
        carrier.alive.clear()
        clock.now += 60
    assert len(carrier.submitted) == MOST_ATTEMPTS
    assert run.outcome is not None
    assert run.outcome.ending is Ending.FAILED
    assert f"wardround server resume {run.key}" in str(run.outcome.reason)


def test_rounds_in_between_start_the_count_anew(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, clock: Clock
) -> None:
    run = a_run(tmp_path)
    for number in range(3 * MOST_ATTEMPTS):
        scheduler.tick(carrier, 1)
        run.note("round_committed", rounds=number, outcome="updated", admitted=3)
        carrier.alive.clear()
        scheduler.tick(carrier, 1)
        clock.now += 60
    assert run.outcome is None


def test_a_stopped_run_that_nobody_runs_ends_at_once_and_can_be_taken_up_again(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier
) -> None:
    run = a_run(tmp_path)
    run.want(Wanted.STOP)
    scheduler.tick(carrier, 1)
    assert run.standing is Standing.STOPPED
    assert carrier.submitted == []
    run.want(Wanted.RUN)
    scheduler.tick(carrier, 1)
    assert len(carrier.submitted) == 1


def test_a_damaged_bundle_fails_the_run_and_not_the_server(
    tmp_path: Path, scheduler: RunScheduler, carrier: FakeCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: RunFolder) -> None:
        raise TrustError("run.bundle: is damaged")

    monkeypatch.setattr(RunFolder, "bundle", damaged)
    run = a_run(tmp_path)
    scheduler.tick(carrier, 1)
    assert run.outcome is not None
    assert (run.outcome.ending, run.outcome.exit_code) == (Ending.FAILED, 4)


def test_two_processes_never_run_one_run(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    with run.alone(), pytest.raises(CheckpointError, match="another process"), run.alone():
        pass


def test_a_line_that_a_crash_cut_short_is_not_read(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.note("round_opened", round=1, sites=["a"])
    with (run.path / "progress.jsonl").open("a") as file:
        file.write('{"event": "rou')
    events, byte = run.follow()
    assert [event["event"] for event in events] == ["round_opened"]
    assert run.follow(from_byte=byte) == ([], byte)


def test_runs_are_found_by_the_beginning_of_their_key(tmp_path: Path) -> None:
    a_run(tmp_path, "aaaa")
    a_run(tmp_path, "aabb")
    assert find_run(tmp_path, "aab").key == "aabb"
    with pytest.raises(Exception, match="several runs"):
        find_run(tmp_path, "aa")
    with pytest.raises(Exception, match="no run"):
        find_run(tmp_path, "c")
    assert [run.key for run in all_runs(tmp_path)] == ["aaaa", "aabb"]
    assert json.loads((tmp_path / RUNS_FOLDER / "aaaa" / "request.json").read_bytes())["wanted"] == "run"
    assert scheduler_module.rounds_committed(find_run(tmp_path, "aaaa")) == 0
