"""Processes that are killed, and processes that race: the ledger never shows less than was released.

Each guarantee is broken once, by a site that does things in the wrong order, and the same test must see it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import wardround
from client.ledger.ledger import Budget, Ledger
from common.ledger.books import Books
from common.ledger.entries import Reserved
from common.ledger.read import read_books
from common.trust.keys import SigningKey

NUM_KILLS = 200
KILLS_PER_LEDGER = 20
NO_CAP = 1e6


@dataclass(frozen=True)
class Spender:
    """`spender.py`, running."""

    process: subprocess.Popen[bytes]

    def start(self, folder: Path, how: str, *, epsilon: float, count: int = 1) -> None:
        """Have it fork children."""
        assert self.process.stdin
        self.process.stdin.write(f"{folder} {how} {epsilon} {count}\n".encode())
        self.process.stdin.flush()

    def read_until(self, end: bytes, *, times: int = 1) -> bytes:
        """What it says up to the end, `times` over."""
        assert self.process.stdout
        said = b""
        while said.count(end) < times:
            new = os.read(self.process.stdout.fileno(), 1)
            assert new, "the spender ended"
            said += new
        return said

    def wait(self) -> list[int]:
        """How each child ended: an exit code, or minus the signal."""
        return [int(word) for word in self.read_until(b"\n").split(b"done")[1].split()]


@pytest.fixture(scope="module")
def spender() -> Iterator[Spender]:
    program = Path(__file__).with_name("spender.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(wardround.__file__).parent)}
    with subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        yield Spender(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def new_site(folder: Path) -> Path:
    folder.mkdir()
    SigningKey.create(folder / "site_key.pem")
    return folder


def released(folder: Path) -> list[str]:
    path = folder / "released"
    return path.read_text().split() if path.exists() else []


def not_in(books: Books, names: list[str]) -> set[str]:
    """What was released and is not in the books."""
    return set(names) - {entry.body.release for entry in books if isinstance(entry.body, Reserved)}


def kill_once(spender: Spender, folder: Path, how: str, chance: np.random.Generator) -> Books:
    """Start a site, kill it somewhere from the middle of a release on, and read what its ledger says."""
    spender.start(folder, how, epsilon=NO_CAP)
    number = int(spender.read_until(b"\n").strip(b".\n"))
    spender.read_until(b".", times=int(chance.integers(1, 3)))
    time.sleep(chance.uniform(0.0, 0.008))
    os.kill(number, signal.SIGKILL)
    assert spender.wait() == [-signal.SIGKILL]
    return read_books(folder / "ledger.sqlite3")


def test_killed_site_never_released_more_than_its_ledger_shows(spender: Spender, tmp_path: Path) -> None:
    """200 kills at random points, the ledger opened anew after each."""
    chance, num_between = np.random.default_rng(0), 0
    for number in range(NUM_KILLS // KILLS_PER_LEDGER):
        folder = new_site(tmp_path / str(number))
        num_unsettled = 0
        for _ in range(KILLS_PER_LEDGER):
            books = kill_once(spender, folder, "right", chance)
            assert not_in(books, released(folder)) == set()
            (account,) = books.accounts
            num_between += len(books.unsettled(account)) > num_unsettled
            num_unsettled = len(books.unsettled(account))
        with Ledger.open(
            folder / "ledger.sqlite3",
            site="north",
            key=SigningKey.load(folder / "site_key.pem"),
            budget=Budget(epsilon=None, delta=1e-5),
        ) as ledger:
            assert ledger.spent(account).num_reserved == len(books.reservations(account)) >= len(released(folder))
    assert num_between >= NUM_KILLS // 5, "too few of the kills fell between reserving and settling"


def test_site_that_releases_before_it_reserves_is_caught(spender: Spender, tmp_path: Path) -> None:
    chance, folder = np.random.default_rng(0), new_site(tmp_path / "site")
    assert any(
        not_in(kill_once(spender, folder, "released_before_reserved", chance), released(folder)) for _ in range(40)
    )


@pytest.mark.parametrize("num_processes", [2, 6])
def test_racing_processes_spend_the_budget_and_no_more(spender: Spender, tmp_path: Path, num_processes: int) -> None:
    """They make the ledger together, too."""
    folder = new_site(tmp_path / "site")
    spender.start(folder, "right", epsilon=3.0, count=num_processes)
    spender.read_until(b"\n")
    assert spender.wait() == [0] * num_processes
    books = read_books(folder / "ledger.sqlite3")
    (account,) = books.accounts
    assert len(books.reservations(account)) == len(released(folder)) == 30
    assert books.unsettled(account) == {}


def test_processes_that_make_a_ledger_together_all_open_it(spender: Spender, tmp_path: Path) -> None:
    """SQLite's switch to its write-ahead log does not wait by itself: without our wait, one in thirty opens failed."""
    for number in range(20):
        spender.start(new_site(tmp_path / str(number)), "opened", epsilon=3.0, count=8)
        spender.read_until(b"\n")
        assert spender.wait() == [0] * 8


def test_processes_that_check_before_they_reserve_are_caught(spender: Spender, tmp_path: Path) -> None:
    """The same race, where the check and the charge are two steps."""
    over = []
    for number in range(5):
        folder = new_site(tmp_path / str(number))
        spender.start(folder, "checked_before_reserved", epsilon=3.0, count=6)
        spender.read_until(b"\n")
        assert spender.wait() == [0] * 6
        over.append(len(released(folder)) > 30)
    assert any(over)
