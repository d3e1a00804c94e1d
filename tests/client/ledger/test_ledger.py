"""The ledger charges before a release and settles it once, within the budget, and fails closed."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.ledger.ledger import Account, Ledger
from common.errors import BudgetExhausted, LedgerError
from common.ledger.read import read_books
from common.privacy.accountant import epsilon_of
from common.privacy.events import DiscreteLaplace, Event, SampledGaussian

Open = Callable[..., Ledger]
RUN, OTHER_RUN = "cd" * 32, "ef" * 32


def reserve(ledger: Ledger, account: Account, event: Event, *, round_number: int = 1, run: str = RUN) -> str:
    return ledger.reserve(account, run=run, round_number=round_number, release="update", event=event).entry


def settle(ledger: Ledger, entry: str, paid: Event, **other: Any) -> None:
    ledger.settle(entry, **{"run": RUN, "round_number": 1, "release": "update", "event": paid} | other)


def count_until_refused(ledger: Ledger, account: Account, event: Event, *, run: str = RUN) -> int:
    for number in range(1000):
        try:
            reserve(ledger, account, event, round_number=number, run=run)
        except BudgetExhausted:
            return number
    raise AssertionError("never refused")


def test_reservation_counts_by_the_accountant(open_ledger: Open, train: Account) -> None:
    """With the accountant itself: epsilon of all events together, not the sum of each one's."""
    training = SampledGaussian(noise_multiplier=2.0, sampling_probability=0.1, steps=5)
    counts = DiscreteLaplace(noise_scale=4.0, releases=2)
    with open_ledger(epsilon=8.0) as ledger:
        first = ledger.reserve(train, run=RUN, round_number=1, release="update", event=training)
        assert first.epsilon == epsilon_of([training], delta=1e-5)
        second = ledger.reserve(train, run=RUN, round_number=1, release="statistics", event=counts)
        said = ledger.spent(train)
    expected = epsilon_of([training, counts], delta=1e-5)
    assert second.epsilon == said.epsilon == expected
    assert said.remaining == 8.0 - expected
    assert (said.delta, said.cap, said.num_reserved, said.num_settled) == (1e-5, 8.0, 2, 0)
    assert said.head is not None
    assert said.head.digest == second.entry


@pytest.mark.usefixtures("basic_composition")
def test_budget_is_used_up_to_the_cap_and_not_beyond(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        assert count_until_refused(ledger, train, tenth) == 10
        assert ledger.spent(train).remaining == 0.0
        before = ledger.head()
        with pytest.raises(BudgetExhausted) as refused:
            reserve(ledger, train, tenth, round_number=11)
        assert ledger.head() == before, "a refusal writes nothing"
    assert refused.value.exit_code == 3
    for word in ("north", "train patients", "abababababab", "'update'", "round 11", "1.1", "cap", "is 1", "policy"):
        assert word in str(refused.value)


@pytest.mark.usefixtures("basic_composition")
def test_spend_lasts_over_runs_and_reopening(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        for number in range(4):
            reserve(ledger, train, tenth, round_number=number)
    with open_ledger() as ledger:
        assert ledger.spent(train).epsilon == 0.4
        assert count_until_refused(ledger, train, tenth, run=OTHER_RUN) == 6


@pytest.mark.usefixtures("basic_composition")
def test_cap_of_one_run_binds_that_run_alone(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger(per_run=0.3) as ledger:
        assert count_until_refused(ledger, train, tenth) == 3
        assert ledger.would_exceed(train, run=RUN, events=[tenth])
        assert not ledger.would_exceed(train, run=OTHER_RUN, events=[tenth])
        assert count_until_refused(ledger, train, tenth, run=OTHER_RUN) == 3


@pytest.mark.usefixtures("basic_composition")
def test_accounts_are_kept_apart(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        for account in (train, replace(train, cohort="held_out"), replace(train, dataset_digest="00" * 32)):
            assert count_until_refused(ledger, account, tenth) == 10


def test_without_a_cap_everything_fits_and_without_noise_nothing_else(open_ledger: Open, train: Account) -> None:
    bare = SampledGaussian(noise_multiplier=0.0, sampling_probability=0.1, steps=1)
    with open_ledger(epsilon=None) as ledger:
        assert ledger.reserve(train, run=RUN, round_number=1, release="update", event=bare).epsilon == float("inf")
        assert ledger.spent(train).remaining is None
    with open_ledger(epsilon=1000.0) as ledger, pytest.raises(BudgetExhausted):
        reserve(ledger, train, bare)


@pytest.mark.usefixtures("basic_composition")
def test_would_exceed_foretells_reserve_and_writes_nothing(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        head = ledger.head()
        assert not ledger.would_exceed(train, run=RUN, events=[tenth] * 10)
        assert ledger.would_exceed(train, run=RUN, events=[tenth] * 11)
        assert not ledger.would_exceed(train, run=RUN, events=[])
        assert ledger.head() == head


@pytest.mark.usefixtures("basic_composition")
def test_release_is_settled_once(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        entry = reserve(ledger, train, tenth)
        settle(ledger, entry, tenth)
        assert ledger.spent(train).num_settled == 1
        with pytest.raises(LedgerError, match="has left already"):
            settle(ledger, entry, tenth)
        assert ledger.spent(train).num_settled == 1


@pytest.mark.usefixtures("basic_composition")
@pytest.mark.parametrize(
    "other",
    [
        {"run": OTHER_RUN},
        {"round_number": 2},
        {"release": "statistics"},
        {"event": DiscreteLaplace(noise_scale=10.0, releases=2)},
        {"event": DiscreteLaplace(noise_scale=9.0, releases=1)},
        {"event": SampledGaussian(noise_multiplier=10.0, sampling_probability=1.0, steps=1)},
    ],
)
def test_what_was_not_reserved_is_not_settled(
    open_ledger: Open, train: Account, tenth: Event, other: dict[str, Any]
) -> None:
    with open_ledger() as ledger:
        entry = reserve(ledger, train, tenth)
        with pytest.raises(LedgerError, match="not what the ledger reserved"):
            settle(ledger, entry, tenth, **other)
        settle(ledger, entry, tenth)


@pytest.mark.usefixtures("basic_composition")
def test_unknown_digest_is_not_settled(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        entry = reserve(ledger, train, tenth)
        settle(ledger, entry, tenth)
        for unknown in ("", "0" * 64, entry.upper(), ledger.head().digest):
            with pytest.raises(LedgerError, match="was not reserved"):
                settle(ledger, unknown, tenth)


@pytest.mark.usefixtures("basic_composition")
def test_unsettled_reservation_counts_for_ever(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger:
        reserve(ledger, train, tenth)
    for _ in range(3):
        with open_ledger() as ledger:
            said = ledger.spent(train)
            assert (said.epsilon, said.num_reserved, said.num_settled) == (0.1, 1, 0)


@pytest.mark.usefixtures("basic_composition")
def test_whole_numbers_are_written_as_they_are_read(open_ledger: Open, train: Account) -> None:
    event = DiscreteLaplace(noise_scale=10, releases=1)
    with open_ledger(epsilon=1) as ledger:
        settle(ledger, reserve(ledger, train, event), event)
    with open_ledger(epsilon=1.0) as ledger:
        assert ledger.spent(train).num_settled == 1
        assert ledger.head().sequence == 4, "the same budget is not stated again"


@pytest.mark.usefixtures("basic_composition")
def test_new_budget_is_written_and_holds_for_who_has_the_ledger_open(
    open_ledger: Open, train: Account, tenth: Event, path: Path
) -> None:
    with open_ledger() as ledger:
        reserve(ledger, train, tenth)
        with open_ledger(epsilon=0.2):
            pass
        assert count_until_refused(ledger, train, tenth) == 1
    assert read_books(path).budget.epsilon == 0.2


def test_files_are_private_and_flushed_at_each_commit(open_ledger: Open, path: Path) -> None:
    """A killed process cannot show a lost flush; the settings that ask for it can be read."""
    with open_ledger() as ledger:
        connection = ledger._file._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        files = sorted(path.parent.iterdir())
        assert [file.name.removeprefix("ledger.sqlite3") for file in files] == ["", "-shm", "-wal", ".head"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.usefixtures("basic_composition")
def test_threads_on_one_ledger_do_not_overspend(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger() as ledger, ThreadPoolExecutor(8) as threads:
        start = threading.Barrier(8)

        def spend(thread: int) -> int:
            start.wait()
            kept = 0
            for number in range(3):
                with suppress(BudgetExhausted):
                    settle(
                        ledger,
                        reserve(ledger, train, tenth, round_number=thread * 3 + number),
                        tenth,
                        round_number=thread * 3 + number,
                    )
                    kept += 1
            return kept

        assert sum(threads.map(spend, range(8))) == 10
        said = ledger.spent(train)
    assert (said.epsilon, said.num_reserved, said.num_settled) == (1.0, 10, 10)


@pytest.mark.usefixtures("basic_composition")
def test_full_disk_releases_nothing(open_ledger: Open, train: Account, tenth: Event) -> None:
    with open_ledger(epsilon=None) as ledger:
        entry = reserve(ledger, train, tenth)
        connection = ledger._file._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        spent = 1
        with pytest.raises(LedgerError, match="full"):
            for _ in range(50):
                reserve(ledger, train, tenth)
                spent += 1
        assert ledger.spent(train).num_reserved == spent, "what failed is not in the ledger, and what did not is"
        with pytest.raises(LedgerError, match="full"):
            for _ in range(50):
                settle(ledger, entry, tenth)
                entry = reserve(ledger, train, tenth)
        connection.execute("PRAGMA max_page_count = 100000")
        reserve(ledger, train, tenth)


@pytest.mark.usefixtures("basic_composition")
def test_head_file_that_cannot_be_written_releases_nothing(
    open_ledger: Open, train: Account, tenth: Event, path: Path
) -> None:
    with open_ledger() as ledger:
        head = path.with_name("ledger.sqlite3.head")
        head.unlink()
        head.mkdir()
        with pytest.raises(LedgerError, match="nothing is released"):
            reserve(ledger, train, tenth)
        assert ledger.spent(train).epsilon == 0.1, "it may have been written, so it counts"


def test_closed_ledger_releases_nothing(open_ledger: Open, train: Account, tenth: Event) -> None:
    ledger = open_ledger()
    ledger.close()
    with pytest.raises(LedgerError):
        reserve(ledger, train, tenth)


def test_ledger_that_is_locked_for_too_long_is_an_error(
    open_ledger: Open, train: Account, tenth: Event, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.ledger.file._WAIT_SECONDS", 0.1)
    with open_ledger() as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked"):
            reserve(ledger, train, tenth)
        other.execute("ROLLBACK")
        other.close()
        reserve(ledger, train, tenth)


def test_folder_that_cannot_be_made_is_an_error(open_ledger: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="nothing is released"):
        open_ledger(tmp_path / "file" / "ledger.sqlite3")


def test_ledger_loads_without_torch() -> None:
    import subprocess
    import sys

    script = "import sys, client.ledger.ledger; sys.exit('torch' in sys.modules or 'flwr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
