"""Every promise on a signed run: whole it holds; broken, its own line names the file; missing, nothing is told."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.ledger.file import LedgerFile
from common.canonical import canonical_json
from common.evidence.log_entries import Kind
from common.evidence.manifest import MANIFEST_FILE, STATE_FILE
from common.files import sha256_hex
from common.ledger.entries import Account, Reserved
from common.privacy.events import SampledGaussian
from common.trust.keys import SigningKey
from server.deploy.members import Members
from simulations.audits.promises.answers import Answer, Promise
from simulations.audits.promises.claims import CLAIMS
from simulations.audits.promises.handed_over import handed_over
from simulations.audits.promises.opened import opened
from simulations.audits.promises.report import AuditReport, audit_report
from simulations.audits.promises.signed_report import validate
from tests.common.evidence.logs import Side, forge
from tests.simulations.audits.promises.signed_run import CENTRE, SITES, SignedRun, write_signed_run

README = Path(__file__).resolve().parents[4] / "README.md"


def audited(signed: SignedRun) -> AuditReport:
    """The report of all that is there."""
    return audit_report(opened(handed_over(signed.run, sites=signed.states, members=signed.members)))


def answer(report: AuditReport, promise: Promise) -> Answer:
    """What a promise came to."""
    return next(kept.answer for kept in report.promises if kept.promise is promise)


def lines(report: AuditReport, promise: Promise) -> str:
    """Why a promise does not hold."""
    return "\n".join(next(kept.because for kept in report.promises if kept.promise is promise))


def replace_in(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def test_promises_are_those_of_the_readme() -> None:
    table = README.read_text(encoding="utf-8").split("| what we promise | today |\n| --- | --- |\n")[1].split("\n\n")[0]
    assert [claim.title for claim in CLAIMS.values()] == [row.split("|")[1].strip() for row in table.splitlines()]
    assert list(CLAIMS) == list(Promise)


def test_whole_run_holds_and_its_object_is_of_the_schema(whole: SignedRun) -> None:
    before = {path: path.read_bytes() for path in whole.folder.rglob("*") if path.is_file()}
    report = audited(whole)
    assert {kept.promise: kept.answer for kept in report.promises} == dict.fromkeys(Promise, Answer.HOLDS)
    assert report.exit_code == 0
    said = report.as_json()
    validate(json.loads(json.dumps(said, allow_nan=False)))
    assert {path: path.read_bytes() for path in whole.folder.rglob("*") if path.is_file()} == before
    names = [check["name"] for check in said["checks"]]
    assert len(names) == len(set(names)), "a promise names its checks"
    for site in SITES:
        assert {f"ledger {site}", f"log {site}", f"policy of {site}", f"updates of {site}"} <= set(names)
    assert all(set(promise["checks"]) <= set(names) for promise in said["promises"])


def test_figures_are_recomputed_from_ledgers_and_rounds(whole: SignedRun) -> None:
    said = audited(whole).as_json()
    training = [one for one in said["spent"] if one["cohort"] == "train"]
    assert [one["site"] for one in training] == list(SITES)
    assert all(one["remaining"] == pytest.approx(100.0 - one["epsilon"]) for one in training)
    held_out = [one["epsilon"] for one in said["spent"] if one["cohort"] == "held_out"]
    assert held_out == pytest.approx([0.5] * 3, abs=1e-3), "two counts of noise scale 4, by hand"
    assert said["drops"] == {"east": {}, "north": {}, "west": {"late": 1}}
    assert said["fairness"]["sex"]["worst_group"]["group"] == "F"
    listed = {Path(file["path"]): file["sha256"] for file in said["files"]}
    assert all(sha256_hex(path.read_bytes()) == digest for path, digest in listed.items())
    kinds = {path.name for path in listed}
    assert {"log.jsonl", "ledger.sqlite3", "site.yaml", "members.json", "head.json", "summary.json"} <= kinds


# Each promise, broken in a way of its own.


def leave_without_noise(signed: SignedRun) -> None:
    """The hospital itself writes into its log that an update left without noise; its signatures hold."""
    side = Side(name="east", folder=signed.folder / "east" / "state" / "log", key=signed.key("east"))
    with side.open() as log:
        run = str(next(entry for entry in log.trail if entry.kind is Kind.RELEASE).fields["run"])
        log.append(
            Kind.RELEASE,
            content="dd" * 32,
            run=run,
            round=2,
            release="groups",
            mechanism="not_private",
            ledger_entry=None,
        )


def forbid_counts(signed: SignedRun) -> None:
    replace_in(signed.folder / "north" / "site.yaml", ", statistics: [discrete_laplace]", "")


def run_digest(signed: SignedRun) -> str:
    return str(json.loads((signed.run / "summary.json").read_text())["config_digest"])


def charge_once_more(signed: SignedRun) -> None:
    """Signed by the hospital: one round more than the report counts."""
    event = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.5, steps=20)
    account = Account(dataset_digest="da" * 32, cohort="train")
    more = Reserved(account=account, run=run_digest(signed), round_number=2, release="update", event=event)
    file = LedgerFile(signed.folder / "west" / "state" / "ledger.sqlite3", signed.key("west"))
    file.append(lambda _: [more])
    file.close()


def change_ledger(signed: SignedRun) -> None:
    path = signed.folder / "west" / "state" / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        (record,) = connection.execute("SELECT record FROM entries WHERE sequence = 7").fetchone()
        connection.execute("UPDATE entries SET record = ? WHERE sequence = 7", (record.replace(b"4.0", b"9.0"),))
        connection.commit()


def report_others(signed: SignedRun) -> None:
    replace_in(signed.run / "rounds.jsonl", '"admitted": ["east", "north"]', '"admitted": ["east"]')


def rewrite_update(number: int, entry: dict[str, Any]) -> None:
    if entry["kind"] == "update_admitted" and number > 10:
        entry["content"] = "ee" * 32


def count_another_update(signed: SignedRun) -> None:
    """The server forges its own log, chained and signed anew, so that it counts what no hospital sent."""
    for folder in (signed.run / "logs" / CENTRE,):
        forge(Side(name=CENTRE, folder=folder, key=signed.key(CENTRE)), rewrite_update)


def other_state(signed: SignedRun) -> None:
    path = signed.run / STATE_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def better_groups(signed: SignedRun) -> None:
    replace_in(signed.run / "summary.json", '"recall_at_10": 0.5,', '"recall_at_10": 0.68,')


def prettier_page(signed: SignedRun) -> None:
    replace_in(signed.run / "report.html", "50.0%", "70.0%")


def older_members(signed: SignedRun) -> None:
    """Signed by the server, and shorter than its log has noted."""
    members = Members(CENTRE, [])
    signed.members.write_bytes(members.sealed(signed.key(CENTRE)))


def another_centre(signed: SignedRun) -> None:
    signed.members.write_bytes(Members(CENTRE, []).sealed(SigningKey.fresh()))


def change_index(signed: SignedRun) -> None:
    (path,) = (signed.folder / "east" / "state" / "search").rglob("withdrawn")
    path.write_bytes(b"h" + path.read_bytes()[1:])


Break = Callable[[SignedRun], object]

BREAKS: dict[str, tuple[Break, Promise, str, int]] = {
    "something left without noise": (
        leave_without_noise,
        Promise.GATED,
        r"east/state/log/log\.jsonl: entry \d+: groups left east without noise",
        1,
    ),
    "something left that site.yaml forbids": (
        forbid_counts,
        Promise.GATED,
        r"statistics left by discrete_laplace, which .*north/site\.yaml does not allow",
        1,
    ),
    "the ledger charged more than the report states": (
        charge_once_more,
        Promise.EPSILON,
        r"summary\.json: states epsilon 7\.\d+ of west's training patients, and its ledger charged \d+",
        1,
    ),
    "the ledger altered": (change_ledger, Promise.EPSILON, r"west/state/ledger\.sqlite3: entry 7: ", 4),
    "the rounds altered": (report_others, Promise.BAD_HOSPITAL, r"rounds\.jsonl: is not the file that was signed", 4),
    "the server counts what nobody sent": (
        count_another_update,
        Promise.BAD_HOSPITAL,
        r"entry \d+: counts an update of \w+ that .* never released",
        4,
    ),
    "the checkpoint altered": (other_state, Promise.CRASH, r"state\.safetensors: is not the file that was signed", 4),
    "the figures altered": (better_groups, Promise.SERVED, r"states another gap or group served worst by sex", 4),
    "the report altered": (prettier_page, Promise.SERVED, r"report\.html: is not the page that summary\.json", 4),
    "an older member list": (
        older_members,
        Promise.OFFLINE,
        r"members\.json: has 0 entries, and the server's log noted 3",
        4,
    ),
    "a member list of another key": (another_centre, Promise.OFFLINE, r"members\.json: .*does not hold", 4),
    "the index altered": (change_index, Promise.OFFLINE, r"search/\w+/withdrawn: is not what was written", 4),
}


def test_every_promise_has_a_broken_run() -> None:
    assert {promise for _, promise, _, _ in BREAKS.values()} == set(Promise)


@pytest.mark.parametrize("what", BREAKS)
def test_broken_promise_is_named_by_its_own_line(signed: SignedRun, what: str) -> None:
    break_, promise, line, exit_code = BREAKS[what]
    break_(signed)
    report = audited(signed)
    assert answer(report, promise) is Answer.FAILS
    found = [check.says for check in report.checks if promise in check.promises and check.answer is Answer.FAILS]
    assert any(re.search(line, says) for says in found), found
    assert report.exit_code == exit_code
    assert all("\n" not in check.says for check in report.checks)
    validate(report.as_json())


MISSING: dict[str, tuple[str, Promise, str]] = {
    "a hospital's ledger": ("east/state/ledger.sqlite3", Promise.EPSILON, "ledger of east: not handed over"),
    "a hospital's log": ("north/state/log/log.jsonl", Promise.GATED, "log of north: not handed over"),
    "site.yaml": ("west/site.yaml", Promise.GATED, "site.yaml of west: not handed over"),
    "the checkpoint": (f"run/{STATE_FILE}", Promise.CRASH, "state.safetensors: not handed over"),
    "the rounds": ("run/rounds.jsonl", Promise.BAD_HOSPITAL, "rounds.jsonl: not handed over"),
    "the summary": ("run/summary.json", Promise.SERVED, "summary.json: not handed over"),
    "the report": ("run/report.html", Promise.SERVED, "report.html: not handed over"),
    "the manifest": (f"run/{MANIFEST_FILE}", Promise.OFFLINE, "manifest.json: not handed over"),
    "the server's log": (f"run/logs/{CENTRE}/log.jsonl", Promise.OFFLINE, "server's log was not handed over"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_was_not_handed_over_cannot_be_told_and_is_never_fine(signed: SignedRun, what: str) -> None:
    name, promise, line = MISSING[what]
    (signed.folder / name).unlink()
    for beside in (signed.folder / name).parent.glob(f"{Path(name).name}*"):
        beside.unlink()
    report = audited(signed)
    assert answer(report, promise) is Answer.CANNOT_TELL
    says = [check.says for check in report.checks if promise in check.promises and check.answer is Answer.CANNOT_TELL]
    assert any(line in said for said in says), says
    assert [check.says for check in report.checks if check.answer is Answer.FAILS] == []
    assert report.exit_code == 1
    validate(report.as_json())


def test_member_list_that_was_not_handed_over_cannot_be_told(whole: SignedRun) -> None:
    report = audit_report(opened(handed_over(whole.run, sites=whole.states, members=None)))
    assert answer(report, Promise.OFFLINE) is Answer.CANNOT_TELL
    assert "members.json: the server's member list was not handed over" in lines(report, Promise.OFFLINE)


def test_bare_run_folder_says_of_each_promise_what_is_missing(whole: SignedRun, tmp_path: Path) -> None:
    report = audit_report(opened(handed_over(whole.run, sites=(), members=None)))
    assert answer(report, Promise.EPSILON) is Answer.CANNOT_TELL
    assert answer(report, Promise.GATED) is Answer.CANNOT_TELL
    empty = tmp_path / "empty"
    empty.mkdir()
    report = audit_report(opened(handed_over(empty, sites=(), members=None)))
    assert {kept.answer for kept in report.promises} == {Answer.CANNOT_TELL}
    validate(report.as_json())


def test_rule_that_bears_nobody_does_not_keep_its_promise(tmp_path: Path) -> None:
    signed = write_signed_run(tmp_path / "mean", "aggregator.name=mean", "aggregator.num_byzantine=0")
    report = audited(signed)
    assert "the rule mean bears no bad hospital" in lines(report, Promise.BAD_HOSPITAL)
    assert report.exit_code == 1


def test_simulation_says_what_is_not_signed(signed: SignedRun) -> None:
    """The same run as a simulation leaves it: no manifest, no log, its ledgers in its own folder."""
    replace_in(signed.run / "summary.json", '"engine": "deployment"', '"engine": "inprocess"')
    (signed.run / MANIFEST_FILE).unlink()
    shutil.rmtree(signed.run / "logs")
    (signed.run / "ledgers").mkdir()
    for site in SITES:
        shutil.copyfile(signed.folder / site / "state" / "ledger.sqlite3", signed.run / "ledgers" / f"{site}.sqlite3")
    report = audit_report(opened(handed_over(signed.run, sites=(), members=None)))
    assert report.is_simulation
    assert answer(report, Promise.EPSILON) is Answer.HOLDS
    assert answer(report, Promise.OFFLINE) is answer(report, Promise.GATED) is Answer.CANNOT_TELL
    assert "a simulation signs its ledgers alone" in lines(report, Promise.OFFLINE)
    report_others(signed)
    broken = audit_report(opened(handed_over(signed.run, sites=(), members=None)))
    assert answer(broken, Promise.BAD_HOSPITAL) is Answer.FAILS, "unsigned, and still told two ways"
    assert broken.exit_code == 1


def test_private_key_that_was_handed_over_is_said(signed: SignedRun) -> None:
    shutil.copyfile(signed.folder / "keys" / "east.pem", signed.folder / "east" / "state" / "site_key.pem")
    assert audited(signed).private_keys == (str(signed.folder / "east" / "state" / "site_key.pem"),)


def test_canonical_json_of_two_audits_is_the_same(whole: SignedRun) -> None:
    def told(report: AuditReport) -> bytes:
        said = report.as_json()
        for timed in (said, *said["checks"]):
            timed["seconds"] = 0
        return canonical_json({**said, "made_at": ""})

    assert told(audited(whole)) == told(audited(whole))
