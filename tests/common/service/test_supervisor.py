"""Children are started again, waited for ever longer, and end with their supervisor or when told."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.service.processes import ChildSpec
from common.service.supervisor import Supervisor
from tests.common.service.children import Clock, alive, python, until

ENDS = "pass"
STAYS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STAYS


@pytest.fixture
def supervised(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Supervisor]]:
    caplog.set_level(logging.INFO, logger="wardround")
    made: list[Supervisor] = []

    def make(
        *children: ChildSpec, clock: Callable[[], float] = time.monotonic, log_folder: Path | None = None
    ) -> Supervisor:
        made.append(Supervisor(children, log_folder=log_folder, clock=clock))
        made[-1].start()
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def ended(supervisor: Supervisor, name: str = "child") -> bool:
    supervisor.tick()
    return supervisor.status()[name]["pid"] is None


def test_supervisor_waits_twice_as_long_each_time_up_to_half_a_minute(supervised: Callable[..., Supervisor]) -> None:
    clock = Clock()
    supervisor = supervised(python("child", ENDS), clock=clock)
    for starts, seconds in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0], start=1):
        until(lambda: ended(supervisor))
        clock.now += seconds - 0.01
        supervisor.tick()
        assert supervisor.generation("child") == starts, "it must not start before its time"
        clock.now += 0.01
        supervisor.tick()
        assert supervisor.generation("child") == starts + 1
    assert supervisor.status()["child"]["restarts"] == 8


def test_supervisor_forgets_earlier_ends_after_a_healthy_minute(supervised: Callable[..., Supervisor]) -> None:
    clock = Clock()
    supervisor = supervised(python("child", STAYS), clock=clock)
    for up_seconds, wait in [(1.0, 0.5), (1.0, 1.0), (59.0, 2.0), (60.0, 0.5), (1.0, 1.0)]:
        pid = supervisor.status()["child"]["pid"]
        assert pid is not None
        clock.now += up_seconds
        os.kill(pid, signal.SIGKILL)
        until(lambda: ended(supervisor))
        clock.now += wait - 0.01
        supervisor.tick()
        assert supervisor.status()["child"]["pid"] is None
        clock.now += 0.01
        supervisor.tick()
        assert supervisor.status()["child"]["pid"] is not None


def test_supervisor_says_what_a_child_prints_to_log_listener_and_file(
    supervised: Callable[..., Supervisor], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    lines: list[str] = []
    script = (
        "import sys; print('\\x1b[92mone\\x1b[0m'); print('two', file=sys.stderr); sys.stdout.buffer.write(b'\\xff\\n')"
    )
    supervisor = supervised(python("child", script, on_line=lines.append), log_folder=tmp_path / "logs")
    until(lambda: len(lines) == 3)
    supervisor.stop()
    assert sorted(lines) == ["one", "two", "\ufffd"]
    heard = [record.message for record in caplog.records if record.name == "wardround.child"]
    assert sorted(heard) == sorted(lines)
    assert (tmp_path / "logs" / "child.log").read_text().count("one") == 1


def test_supervisor_reads_on_when_a_listener_raises(supervised: Callable[..., Supervisor]) -> None:
    heard: list[str] = []

    def listener(line: str) -> None:
        heard.append(line)
        raise ValueError(line)

    script = "for n in range(20): print('x' * 10_000, flush=True)"
    supervised(python("child", script, on_line=listener))
    until(lambda: len(heard) == 20)


def test_supervisor_bounds_a_line_without_an_end(supervised: Callable[..., Supervisor]) -> None:
    heard: list[str] = []
    supervised(python("child", "print('x' * 1_000_000)", on_line=heard.append))
    until(lambda: sum(map(len, heard)) == 1_000_000)
    assert max(map(len, heard)) <= 16_384


def test_supervisor_prepares_each_restart_but_not_the_first_start(supervised: Callable[..., Supervisor]) -> None:
    clock, calls = Clock(), []

    def prepare() -> None:
        calls.append(clock.now)
        raise RuntimeError("no matter")

    supervisor = supervised(python("child", ENDS, before_restart=prepare), clock=clock)
    assert calls == []
    for count in (1, 2):
        until(lambda: ended(supervisor))
        clock.now += 30
        supervisor.tick()
        assert len(calls) == count
        assert supervisor.generation("child") == count + 1, "it starts although what precedes it failed"


def test_child_gets_the_quiet_environment_and_its_own_over_it(supervised: Callable[..., Supervisor]) -> None:
    lines: list[str] = []
    script = "import os; print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['HF_HUB_OFFLINE'], os.environ['MINE'])"
    supervised(python("child", script, environment={"MINE": "3", "HF_HUB_OFFLINE": "2"}, on_line=lines.append))
    until(lambda: lines != [])
    assert lines == ["0 2 3"]


def test_command_that_is_not_there_is_said_and_tried_again(supervised: Callable[..., Supervisor]) -> None:
    lines: list[str] = []
    clock = Clock()
    supervisor = supervised(ChildSpec(name="child", command=("/nowhere/at-all",), on_line=lines.append), clock=clock)
    until(lambda: ended(supervisor))
    until(lambda: lines == ["/nowhere/at-all: cannot be run (No such file or directory)"])
    clock.now += 1
    supervisor.tick()
    assert supervisor.generation("child") == 2


def test_stop_ends_children_at_once_and_kills_those_that_do_not_listen(
    supervised: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.service.supervisor.GRACE_SECONDS", 0.5)
    ready: list[str] = []
    supervisor = supervised(
        python("child", STAYS, on_line=ready.append), python("stubborn", STUBBORN, on_line=ready.append)
    )
    until(lambda: len(ready) == 2)
    pids = [child["pid"] for child in supervisor.status().values()]
    began = time.monotonic()
    supervisor.stop()
    assert 0.5 <= time.monotonic() - began < 3.0
    assert not any(alive(pid) for pid in pids if pid is not None)
    supervisor.tick()
    assert [child["pid"] for child in supervisor.status().values()] == [None, None], "what was stopped stays so"


def test_what_a_child_started_ends_with_it(supervised: Callable[..., Supervisor]) -> None:
    lines: list[str] = []
    script = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(child.pid)"
    )
    supervisor = supervised(python("child", script, on_line=lines.append), clock=Clock())
    until(lambda: lines != [])
    until(lambda: ended(supervisor))
    until(lambda: not alive(int(lines[0])))


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG of Linux")
def test_children_die_with_a_supervisor_that_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert owner.stdout is not None
    with owner, owner.stdout:
        pids = [int(owner.stdout.readline()) for _ in range(2)]
        assert all(map(alive, pids))
        owner.kill()
    until(lambda: not any(map(alive, pids)))


OWNER = f"""
import time
from common.service.supervisor import Supervisor
from tests.common.service.children import python, until
up = []
children = [python(name, {STUBBORN!r}, on_line=up.append) for name in ("one", "two")]
supervisor = Supervisor(children, log_folder=None)
supervisor.start()
until(lambda: len(up) == 2)
for child in supervisor.status().values():
    print(child["pid"], flush=True)
time.sleep(60)
"""
"""Prints its children's numbers when they run: a child that still had to print would end by the broken pipe alone."""
