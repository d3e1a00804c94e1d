"""`wardround site approve`: what it shows, what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import wardround
from common.bundle import Bundle
from common.code_digest import code_digest
from tests.client.deploy.hospital import Cohort, Hospital, copy_studies, read_rows


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as an object."""
        return json.loads(self.out)


Approve = Callable[..., Ended]


@pytest.fixture
def approve(hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Approve:
    def run(*arguments: str | Path) -> Ended:
        command = ["wardround", "site", "approve", "--config", str(hospital.site_file), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def file(hospital: Hospital, content: bytes) -> Path:
    path = hospital.folder / "sent.bundle"
    path.write_bytes(content)
    return path


def test_reviewer_sees_what_matters_and_approves(
    approve: Approve, hospital: Hospital, file: Path, bundle: Bundle
) -> None:
    ended = approve(file, "--yes")
    assert ended.code == 0, ended.err
    for text in ("as installed here", "evaluation.epsilon", "unused here", "this run alone", "least noise"):
        assert text in ended.out
    assert hospital.approvals.of(bundle.hash).code == code_digest()


def test_json_alone_approves_nothing(approve: Approve, hospital: Hospital, file: Path, bundle: Bundle) -> None:
    ended = approve(file, "--json")
    assert (ended.code, ended.json["approved"]) == (0, False)
    assert not hospital.approvals.all()
    assert ended.json["bundle"]["hash"] == bundle.hash
    assert ended.json["installed_code"] == ended.json["bundle"]["code"] == bundle.code
    assert ended.json["anchors"] == bundle.anchors
    changed = {row["key"]: row for row in ended.json["differs_from_base"]}
    assert changed["evaluation.epsilon"] == {
        "key": "evaluation.epsilon",
        "before": None,
        "after": 20.0,
        "used_here": True,
    }
    assert not changed["data.root"]["used_here"]
    assert all(verdict["passes"] for verdict in ended.json["run"]["verdicts"])
    costs = [cohort["cost"] for cohort in ended.json["budget"]["cohorts"]]
    assert ended.json["epsilon"] == max(costs) > 0
    assert approve(file, "--json", "--yes").json["approved"]
    assert hospital.approvals.all()


def test_without_a_terminal_nobody_is_asked(approve: Approve, hospital: Hospital, file: Path) -> None:
    ended = approve(file)
    assert ended.code == 2
    assert not hospital.approvals.all()


def test_next_bundle_is_compared_with_the_last(
    approve: Approve, hospital: Hospital, file: Path, content: bytes, cohort: Cohort
) -> None:
    assert approve(file, "--json").json["differs_from_last"] is None
    hospital.approve(content)
    file.write_bytes(cohort.bundle("seed=1"))
    (changed,) = approve(file, "--json").json["differs_from_last"]
    assert (changed["key"], changed["before"], changed["after"]) == ("seed", 0, 1)


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("training", {"losses": ["pair_clip"]}, "the policy refuses this run: loss"),
        ("training", {"least_noise_multiplier": 50.0}, "least noise"),
        ("budget", {"epsilon_per_run": 1.0}, "epsilon of one run"),
        ("releases", {"allowed": {"site": ["public"]}}, "planned releases"),
    ],
)
def test_what_the_policy_refuses_is_not_approved(
    approve: Approve, hospital: Hospital, file: Path, section: str, changes: dict[str, object], said: str
) -> None:
    hospital.edit(section, **changes)
    ended = approve(file, "--yes")
    assert ended.code == 3
    assert said in ended.err
    assert not hospital.approvals.all()
    assert approve(file, "--json", "--yes").json["approved"] is False


def test_hopeless_run_is_not_approved(approve: Approve, hospital: Hospital, file: Path) -> None:
    hospital.edit("training", refuse_hopeless=True)
    assert approve(file, "--json", "--bands", "16-31,1024-2047").code == 0
    ended = approve(file, "--yes", "--bands", "16-31,16-31")
    assert (ended.code, "the policy refuses this run: forecast" in ended.err) == (3, True)
    assert "the noise of epsilon 8 drowns" in ended.out
    assert not hospital.approvals.all()


def test_forecast_is_shown_before_anybody_says_yes(approve: Approve, file: Path) -> None:
    assert "of 16-31 patients each" in approve(file, "--json").json["forecast"]["sentence"]
    assert "of 2 hospitals" in approve(file, "--json", "--bands", "32-63,16-31").json["forecast"]["sentence"]


def test_run_may_be_approved_outside_its_hours(approve: Approve, hospital: Hospital, file: Path) -> None:
    hospital.edit("training", hours="03:00-03:01")
    assert approve(file, "--yes").code == 0


def test_damaged_bundle_is_refused(approve: Approve, hospital: Hospital, file: Path, content: bytes) -> None:
    file.write_bytes(content[:-3])
    ended = approve(file, "--yes")
    assert ended.code == 4
    assert str(file) in ended.err
    assert not hospital.approvals.all()


def test_other_public_studies_are_refused(approve: Approve, hospital: Hospital, file: Path, cohort: Cohort) -> None:
    fewer = copy_studies(cohort.public, hospital.folder / "public", read_rows(cohort.public)[1:])
    hospital.edit("anchors", root=str(fewer))
    ended = approve(file, "--yes")
    assert ended.code == 2
    assert "other public studies" in ended.err
    hospital.edit("anchors", root="nowhere")
    assert approve(file, "--yes").code == 2
    assert not hospital.approvals.all()


def test_other_code_is_shown(
    approve: Approve, file: Path, monkeypatch: pytest.MonkeyPatch, hospital: Hospital, bundle: Bundle
) -> None:
    monkeypatch.setattr("client.deploy.review.code_digest", lambda: "f" * 64)
    ended = approve(file, "--yes")
    assert "ffffffff" in ended.out
    assert "as installed here" not in ended.out
    assert hospital.approvals.of(bundle.hash).code == "f" * 64


def test_list_and_withdraw(approve: Approve, hospital: Hospital, content: bytes, bundle: Bundle) -> None:
    assert approve("--list").out == "Nothing is approved\n"
    hospital.approve(content)
    assert bundle.hash in approve("--list").out
    assert [one["bundle"] for one in approve("--list", "--json").json] == [bundle.hash]
    assert approve("--withdraw", bundle.hash).code == 0
    assert approve("--list", "--json").json == []
    assert approve("--withdraw", bundle.hash).code == 3


@pytest.mark.parametrize("arguments", [[], ["--list", "--withdraw", "a" * 64], ["x.bundle", "--list"]])
def test_one_thing_is_asked_at_a_time(approve: Approve, arguments: list[str]) -> None:
    ended = approve(*arguments)
    assert ended.code == 2
    assert "give one of BUNDLE" in ended.err
