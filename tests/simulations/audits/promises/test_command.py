"""`wardround audit all`: exit codes, the signed folder, what it refuses, and what an attack's file adds."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wardround
from common.trust.keys import SigningKey
from simulations.audits.promises.answers import Answer
from simulations.audits.promises.render import BLANK, escaped
from simulations.audits.promises.signed_report import validate
from simulations.audits.promises.words import most_often_right
from tests.simulations.audits.promises.signed_run import SignedRun

Command = Callable[..., int]
Attacks = Callable[[Any], Path]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `wardround audit all` in this process."""
    for name, value in (wardround.QUIET | {"COLUMNS": "200"}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["wardround", "audit", "all", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Attacks:
    """A file of attacks, as they print it."""

    def write(checks: Any) -> Path:
        path = tmp_path_factory.mktemp("attacks") / "privacy.json"
        path.write_text(json.dumps({"checks": checks}))
        return path

    return write


def row(**changed: Any) -> dict[str, Any]:
    return {"name": "canaries", "holds": True, "lower_bound": 1.8, "claimed_epsilon": 4.0, "seconds": 9.0} | changed


def test_report_is_written_signed_and_verified_and_each_change_is_named(
    command: Command,
    whole: SignedRun,
    tmp_path: Path,
    attacks: Attacks,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, out = tmp_path / "auditor.pem", tmp_path / "report"
    arguments = (*whole.arguments, "--attacks", attacks([row()]), "--key", key, "--out", out)
    assert command(*arguments) == 0
    said = capsys.readouterr()
    assert "All six promises hold, from what was handed over." in said.out
    assert sorted(path.name for path in out.iterdir()) == ["audit.json", "dpia.md", "report.html", "signature.json"]
    validate(json.loads((out / "audit.json").read_bytes()))
    _check_page((out / "report.html").read_text(encoding="utf-8"))
    _check_annex((out / "dpia.md").read_text(encoding="utf-8"))

    assert command("--verify", out) == 0
    assert f"by {SigningKey.load(key).public.hex} (named by the report itself" in capsys.readouterr().out
    assert command("--verify", out, "--public-key", tmp_path / "auditor.public.pem") == 0
    assert "(as given)" in capsys.readouterr().out
    public = tmp_path / "other.pem"
    public.write_bytes(SigningKey.fresh().public.pem)
    assert command("--verify", out, "--public-key", public) == 4
    assert "signature.json: is signed with another key than the one given" in capsys.readouterr().err
    for name in ("audit.json", "dpia.md", "report.html"):
        before = (out / name).read_bytes()
        for content in (before.replace(b"hold", b"fold", 1), before[:-1], b""):
            (out / name).write_bytes(content)
            assert command("--verify", out) == 4
            assert f"{out / name}: is not the file that was signed" in capsys.readouterr().err
        (out / name).write_bytes(before)
    (out / "more.html").write_text("<p>All is well.</p>")
    assert command("--verify", out) == 4
    assert "more.html: lies in the report's folder, and nobody signed it" in capsys.readouterr().err
    (out / "more.html").unlink()
    (out / "signature.json").unlink()
    assert command("--verify", out) == 1
    assert "signature.json: is missing: nobody signed this report" in capsys.readouterr().err
    assert command(*arguments) == 2
    assert "is there already; name a new folder" in capsys.readouterr().err


def _check_page(page: str) -> None:
    """Claims first, then evidence; no script and nothing from elsewhere."""
    assert page.index("Nothing ungated leaves a hospital") < page.index("Evidence: every check")
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page)
    assert "attack: canaries" in page
    assert "Not tested." in page


def _check_annex(annex: str) -> None:
    headings = re.findall(r"^## (.*)$", annex, flags=re.MULTILINE)
    assert headings == [
        "Purposes",
        "Data",
        "Who receives what",
        "What one patient's privacy was charged",
        "Measures, and whether they hold",
        "Who is served worse",
        "Residual risks: what was not tested",
        "Evidence",
    ]
    assert annex.count(BLANK) > 10
    assert "a blind guess is right 50 times" in annex


def test_object_has_the_checks_that_others_read(
    command: Command, whole: SignedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(whole.run, "--json") == 1, "nothing of the hospitals was handed over"
    said = capsys.readouterr()
    checks = json.loads(said.out)["checks"]
    assert all({"name", "holds", "lower_bound", "claimed_epsilon", "seconds"} <= set(check) for check in checks)
    assert {check["holds"] for check in checks} == {True, None}
    assert len(said.err.splitlines()) == 1


def test_altered_file_ends_with_4_and_one_line(
    command: Command, signed: SignedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed.run / "report.html"
    path.write_bytes(path.read_bytes() + b" ")
    assert command(*signed.arguments) == 4
    err = capsys.readouterr().err
    assert f"{path}: is not the file that was signed" in err
    assert len(err.splitlines()) == 1


def test_attack_that_shows_more_than_is_claimed_breaks_the_promise(attacks: Attacks) -> None:
    from simulations.audits.promises.attacks import read_attacks

    told = [row(lower_bound=4.5), row(holds=False), row(holds=None, lower_bound=None), row(claimed_epsilon=None)]
    found = read_attacks(attacks(told))
    assert [check.answer for check in found] == [Answer.FAILS, Answer.FAILS, Answer.CANNOT_TELL, Answer.HOLDS]
    assert found[0].says == "shows epsilon of at least 4.500, epsilon 4.000 is claimed"


def test_bound_that_chance_put_above_a_claim_breaks_nothing(attacks: Attacks) -> None:
    from simulations.audits.promises.attacks import read_attacks

    (by_chance,) = read_attacks(attacks([row(lower_bound=4.2, confidence=0.95)]))
    assert by_chance.answer is Answer.HOLDS, "the attack itself refutes at one in a million"
    assert by_chance.says == "shows epsilon of at least 4.200 at 0.95 confidence, epsilon 4.000 is claimed"
    (refuted,) = read_attacks(attacks([row(lower_bound=4.2, confidence=0.95, holds=False)]))
    assert refuted.answer is Answer.FAILS
    (silent,) = read_attacks(attacks([row(holds=None, lower_bound=None)]))
    assert not silent.promises, "it is shown, and no promise waits for it"


@pytest.mark.parametrize(
    "checks",
    [
        [],
        "canaries",
        [{"name": "canaries"}],
        [row(lower_bound="much")],
        [row(lower_bound=float("nan"))],
        [row(holds=3)],
    ],
)
def test_file_that_is_no_attack_is_a_usage_error(
    command: Command,
    whole: SignedRun,
    attacks: Attacks,
    checks: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(whole.run, "--attacks", attacks(checks)) == 2
    err = capsys.readouterr().err
    assert "--attacks" in err
    assert len(err.splitlines()) == 1


def test_wrong_use_is_said_in_a_line(
    command: Command, whole: SignedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ((), "RUN: is missing"),
        ((tmp_path / "nowhere",), "no such folder; name the folder of a run"),
        ((whole.run, "--site", tmp_path / "nowhere"), "no such file or folder"),
        ((whole.run, "--site", tmp_path), "holds no ledger, log, search index or site.yaml"),
        ((whole.run, "--members", tmp_path / "nowhere"), "name the server's members.json"),
        ((whole.run, "--key", tmp_path / "key.pem"), "name a folder with --out"),
        ((whole.run, "--verify", tmp_path), "takes no RUN or other file"),
        (("--verify", tmp_path / "nowhere"), "no such folder; name a report"),
    ):
        assert command(*arguments) == 2, arguments
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 0.0), (2.0, 1e-2), (8.0, 1e-5)])
def test_guess_is_as_often_right_as_the_worst_mechanism_allows(epsilon: float, delta: float) -> None:
    """Beside the best test against the pair that dominates every (epsilon, delta) mechanism (arXiv 1311.0776)."""
    here = [
        delta,
        (1 - delta) * math.exp(epsilon) / (1 + math.exp(epsilon)),
        (1 - delta) / (1 + math.exp(epsilon)),
        0.0,
    ]
    best = sum(max(p, q) for p, q in zip(here, here[::-1], strict=True)) / 2
    assert most_often_right(epsilon, delta) == pytest.approx(best)
    assert most_often_right(math.inf, delta) == 1.0
    assert most_often_right(epsilon, delta) <= 1.0


def test_text_of_a_file_does_not_act_in_markdown() -> None:
    assert escaped("a|b\n# c <script> [x](y) `z`") == r"a\|b \# c \<script\> \[x\](y) \`z\`"
