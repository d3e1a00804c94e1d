"""A ledger that is gone, or older than the hospital's own log: nothing is answered, and the log's proof is charged."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flwr.app import Message

import wardround
from client.check.budget import accounts_of, budget_of
from client.deploy import held_ledger, recover_cli
from client.deploy.held_ledger import LedgerHolder
from client.deploy.local_worker import LocalWorker, open_worker
from client.deploy.metrics import LedgerReader
from client.gate.recorder import SiteRecorder
from client.ledger.lost import PaidRelease, lost_releases, releases_in
from client.policy.site_config import load_site_config
from client.state_folder import ADMISSION_FILE, LEDGER_FILE, LOG_FOLDER
from common.bundle import Bundle
from common.config.load import load_config
from common.errors import LedgerError, TrustError
from common.evidence.log_trail import Counterpart
from common.ledger.audit import audit_ledger
from common.ledger.entries import HELD_OUT, TRAINING
from common.ledger.read import read_books
from common.ledger.spending import statement_of
from common.privacy.accountant import epsilon_of
from tests.client.deploy.hospital import Hospital, task_of
from tests.client.deploy.test_local_worker import prepared_first

pytestmark = pytest.mark.usefixtures("flower_runtime")


class NotesReleases(SiteRecorder):
    """Notes what leaves, as a member does, and asks the server for no proof."""

    def admit(self, *_: object) -> None:
        """Anything."""

    def release(self, released, *, evidence, task, config, run):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, ARG002
        """Into the log alone."""
        for record in released():
            self._note(record, run=run, round_number=task.round_number)


def worker_of(hospital: Hospital):  # type: ignore[no-untyped-def] # noqa: ANN201
    server = Counterpart("server", hospital.key.public)
    return open_worker(
        hospital.site_file, recorder_of=lambda config, log: NotesReleases(log, site=config.site, server=server)
    )


def said(worker: LocalWorker, bundle: Bundle, round_number: int) -> str | None:
    reply: Message = prepared_first(worker)(bundle.hash, task_of(bundle, round_number=round_number))
    return str(reply.error.reason) if reply.has_error() else None


def spent(hospital: Hospital) -> list[float]:
    """Epsilon of both cohorts, from the ledger's file alone."""
    site = load_site_config(hospital.site_file)
    books = read_books(hospital.state / LEDGER_FILE)
    audit_ledger(books)
    return [statement_of(books, account, budget=budget_of(site)).epsilon for account in accounts_of(site)]


def ledger_files(hospital: Hospital) -> list[Path]:
    return sorted(hospital.state.glob(f"{LEDGER_FILE}*"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command; its exit code and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["wardround", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            wardround.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def trained(hospital: Hospital, content: bytes, bundle: Bundle) -> Iterator[Hospital]:
    """A hospital that has answered two rounds; an older ledger of it, with its marker, lies in `older`."""
    hospital.approve(content)
    with worker_of(hospital) as worker:
        assert said(worker, bundle, 1) is None
        (hospital.folder / "older").mkdir()
        for path in ledger_files(hospital):
            shutil.copy(path, hospital.folder / "older" / path.name)
        assert said(worker, bundle, 2) is None
    yield hospital


def lose(hospital: Hospital, how: str) -> None:
    for path in ledger_files(hospital):
        path.unlink()
    if how == "older":
        for path in (hospital.folder / "older").iterdir():
            shutil.copy(path, hospital.state / path.name)


@pytest.mark.parametrize("how", ["gone", "older"])
def test_nothing_is_answered_until_the_log_s_proof_is_charged(
    trained: Hospital, bundle: Bundle, command: Callable[..., tuple[int, str]], how: str
) -> None:
    before = spent(trained)
    config = ("--config", trained.site_file)
    lose(trained, how)
    kept = {path.name: path.read_bytes() for path in ledger_files(trained)}
    code, text = command("site", "budget", *config)
    assert code == 4
    assert "wardround site recover" in text
    assert command("site", "check", *config)[0] == 4
    with worker_of(trained) as worker:
        assert [said(worker, bundle, 3) for _ in range(2)] == ["ledger", "ledger"]
        assert {path.name: path.read_bytes() for path in ledger_files(trained)} == kept, "an empty one was made"
        assert command("site", "recover", *config)[0] == 2, "there is nobody to ask"
        assert command("site", "recover", *config, "--yes") == (0, "")
        assert said(worker, bundle, 3) is None, "it needs no restart"
    after = spent(trained)
    assert all(now >= then for now, then in zip(after, before, strict=True))
    assert after[0] < float("inf")
    assert not lost_releases(read_books(trained.state / LEDGER_FILE), releases_in(trained.state))
    assert command("site", "budget", *config)[0] == 0
    size = len(read_books(trained.state / LEDGER_FILE))
    assert command("site", "recover", *config, "--yes")[0] == 0
    assert len(read_books(trained.state / LEDGER_FILE)) == size, "charged once"


def test_without_the_run_s_bundle_the_patients_have_spent_all_there_is(
    trained: Hospital, command: Callable[..., tuple[int, str]]
) -> None:
    lose(trained, "gone")
    for path in (trained.state / "bundles").iterdir():
        path.unlink()
    assert command("site", "recover", "--config", trained.site_file, "--yes")[0] == 0
    assert spent(trained)[0] == float("inf")


@pytest.mark.parametrize("ledger", ["kept", "gone"])
def test_without_the_log_of_a_member_nothing_is_answered_and_all_there_is_is_spent(
    trained: Hospital, bundle: Bundle, command: Callable[..., tuple[int, str]], ledger: str
) -> None:
    config = ("--config", trained.site_file)
    (trained.state / ADMISSION_FILE).touch()
    shutil.rmtree(trained.state / LOG_FOLDER)
    if ledger == "gone":
        lose(trained, "gone")
    code, text = command("site", "budget", *config)
    assert code == 4
    assert "audit log is gone" in text
    with pytest.raises(TrustError, match="audit log is gone"), worker_of(trained):
        pass
    assert not (trained.state / LOG_FOLDER).exists(), "an empty one was made"
    assert command("site", "recover", *config, "--yes") == (0, "")
    assert spent(trained) == [float("inf")] * 2
    with worker_of(trained) as worker:
        assert said(worker, bundle, 3) == "budget"


def test_hospital_that_never_joined_has_lost_no_log(
    hospital: Hospital, command: Callable[..., tuple[int, str]]
) -> None:
    assert command("site", "budget", "--config", hospital.site_file)[0] == 0


def test_ledger_that_is_taken_away_in_use_is_charged_no_more(trained: Hospital, bundle: Bundle) -> None:
    with worker_of(trained) as worker:
        assert said(worker, bundle, 3) is None
        lose(trained, "gone")
        assert said(worker, bundle, 4) == "ledger"
        lose(trained, "older")
        assert said(worker, bundle, 5) == "ledger"


def test_ledger_behind_its_marker_is_kept_aside_and_all_is_charged(
    trained: Hospital, command: Callable[..., tuple[int, str]]
) -> None:
    before = spent(trained)
    marker = (trained.state / f"{LEDGER_FILE}.head").read_bytes()
    lose(trained, "older")
    (trained.state / f"{LEDGER_FILE}.head").write_bytes(marker)
    assert command("site", "recover", "--config", trained.site_file, "--yes")[0] == 0
    assert spent(trained)[0] >= before[0]
    assert list(trained.state.glob(f"{LEDGER_FILE}.before-*"))


def test_metric_says_that_the_ledger_cannot_be_believed(trained: Hospital) -> None:
    site = load_site_config(trained.site_file)

    class Keys:
        signing_key = trained.key

    class Identity:
        keys = Keys()

    assert LedgerReader(site, Identity())() is not None  # type: ignore[arg-type]
    lose(trained, "gone")
    assert LedgerReader(site, Identity())() is None  # type: ignore[arg-type]


def test_worker_that_did_not_look_into_its_log_would_spend_the_budget_again(
    trained: Hospital, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: what the check above is there for."""
    before = spent(trained)
    lose(trained, "gone")
    monkeypatch.setattr(held_ledger, "refuse_forgetful", lambda *_: None)
    with worker_of(trained) as worker:
        assert said(worker, bundle, 3) is None
    assert spent(trained)[0] < before[0]


def test_trouble_with_a_ledger_is_said_once(trained: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    lose(trained, "gone")
    with worker_of(trained) as worker:
        holder: LedgerHolder = worker._ledger
        for _ in range(3):
            with pytest.raises(LedgerError):
                holder.open()
    assert sum("no ledger" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(("release", "whom"), [("update", TRAINING), ("statistics", HELD_OUT), ("groups", HELD_OUT)])
def test_release_is_charged_to_those_whom_it_speaks_of(hospital: Hospital, release: str, whom: str) -> None:
    """Of a run that is not here any more: all that there is, of the one cohort and of no other."""
    lost = PaidRelease(entry="ab" * 32, run="cd" * 32, round_number=3, release=release)
    charges = recover_cli._charges(load_site_config(hospital.site_file), [lost])
    assert [charge.account.cohort for charge in charges if charge.lost == lost.entry] == [whom]


@pytest.mark.parametrize(("all_patients", "by_group"), [(1, 5), (5, 1)])
def test_measurement_is_charged_as_the_dearest_of_a_run(all_patients: float, by_group: float) -> None:
    config = load_config([f"evaluation.epsilon={all_patients}", f"fairness.epsilon={by_group}"])
    event = recover_cli._dearest(config, HELD_OUT, delta=1e-5)
    assert epsilon_of([event], delta=1e-5) == pytest.approx(5, rel=0.02)
