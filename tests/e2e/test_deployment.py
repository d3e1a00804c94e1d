"""A server and three hospitals as separate processes on loopback: over TLS, with node keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.state_folder import LEDGER_FILE
from common.evidence.log_entries import Kind, LogEntry, line_from_bytes
from common.evidence.log_files import LOG_FILE
from common.files import sha256_hex
from common.ledger.entries import Reserved
from common.ledger.read import read_books
from server.deploy.runs import Standing, all_runs
from server.report.summary import validate
from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import RUN, check_evidence, check_only_rounds_in_flight_were_lost

pytestmark = pytest.mark.timeout(900)  # a dozen processes on two cores, beside another test


def test_three_hospitals_train_over_tls_and_the_signed_report_holds(loopback: Loopback) -> None:
    """Then one of them has not approved the next run: it refuses, and the others go on.

    That one's patients are told nothing of, so that the next run, which lets no hospital lose, withholds its model.
    """
    *willing, unwilling = loopback.sites
    with loopback.running():
        loopback.make_bundle(RUN, "federation.rounds=3")
        loopback.approve()
        said = loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
        # The run waits for all members, as long as a round may take, before it begins without one.
        overrides = ("federation.rounds=1", "federation.deadline_seconds=15", "fairness.no_site_worse=true")
        loopback.make_bundle(RUN, *overrides)
        loopback.approve(willing)
        ended = loopback.attempt("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
    summary: dict[str, Any] = json.loads(said)
    validate(summary)
    assert (summary["status"], summary["rounds_completed"], summary["engine"]) == ("completed", 3, "deployment")
    assert {name: site["rounds_joined"] for name, site in summary["sites"].items()} == dict.fromkeys(loopback.sites, 3)
    assert all(0 < site["epsilon"] <= 8.01 for site in summary["sites"].values())
    first, second = all_runs(loopback.centre)
    report = (second.path / "report.html").read_text(encoding="utf-8")
    assert "hospitals, over TLS" in report
    assert all(site["epsilon_alone"] > site["epsilon"] for site in summary["sites"].values())
    _check_each_round_was_shared(loopback, summary["config_digest"])
    _check_nothing_of_a_patient_left(loopback)

    next_summary: dict[str, Any] = json.loads(ended.stdout)
    validate(next_summary)
    assert (next_summary["status"], next_summary["published"]) == ("completed", "start")
    assert (ended.returncode, next_summary["release"]["decision"]) == (1, "withheld")
    assert ended.stderr.strip().endswith(next_summary["release"]["reason"])
    assert second.outcome is not None
    assert (second.standing, second.outcome.exit_code) == (Standing.COMPLETED, 1)
    joined = {name: site["rounds_joined"] for name, site in next_summary["sites"].items() if site["rounds_joined"]}
    assert joined == dict.fromkeys(willing, 1)
    refused = [entry for entry in entries_of(loopback.state(unwilling) / "log") if entry.kind is Kind.REFUSAL]
    assert {entry.fields["reason"] for entry in refused} == {"bundle"}

    # The hospitals' logs are newer than the server's copy in the first run's folder; with the last run's they fit.
    loopback.command("audit", "run", first.path)
    check_evidence(loopback, second)
    for run in (first, second):
        check_only_rounds_in_flight_were_lost(run)
    # A report that is changed afterwards is found out.
    evidence = loopback.folder / "evidence"
    (evidence / "report.html").write_text(report.replace("completed", "Completed") + " ", encoding="utf-8")
    assert loopback.attempt("audit", "run", evidence).returncode == 4


def entries_of(folder: Path) -> list[LogEntry]:
    """The entries of a log that nobody has open."""
    return [line_from_bytes(line).entry for line in (folder / LOG_FILE).read_bytes().splitlines()]


def _check_each_round_was_shared(loopback: Loopback, run: str) -> None:
    """Every ledger says of each round who shared its noise, and names the entry of the server's log that opened it."""
    opened = [
        sha256_hex(entry.as_bytes())
        for entry in entries_of(loopback.centre / "log")
        if entry.kind is Kind.ROUND_OPENED and entry.fields["run"] == run
    ]
    for site in loopback.sites:
        bodies = [entry.body for entry in read_books(loopback.state(site) / LEDGER_FILE)]
        shared = [body.shared for body in bodies if isinstance(body, Reserved) and body.run == run and body.shared]
        assert [one.context for one in shared] == opened[:3]
        assert all((one.peers, one.absent, one.colluding) == (2, 0, 1) for one in shared)


def _check_nothing_of_a_patient_left(loopback: Loopback) -> None:
    """No report's words, patient or study identifier of a hospital lies in the server's folder or output."""
    site = loopback.sites[0]
    manifest = (loopback.folder / site / "studies" / "manifest.csv").read_text(encoding="utf-8").splitlines()
    study, patient = manifest[1].split(",")[:2]
    kept = [path for path in loopback.centre.rglob("*") if path.is_file()] + [loopback.log_file("server")]
    for path in kept:
        content = path.read_bytes()
        assert study.encode() not in content, path
        assert patient.encode() not in content, path
