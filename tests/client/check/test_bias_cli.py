"""`wardround site check --bias`: what it prints, its page and its JSON, its exit code, and that nothing leaves."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wardround
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort

PLAN = CohortPlan(
    num_sites=1,
    patients_per_site=90,
    public_patients=0,
    image_size=32,
    site_shift=0.0,
    confounder=False,
    seed=4,
    planted=("scanner", "phrases"),
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(PLAN, tmp_path_factory.mktemp("cohort") / "studies")


@pytest.fixture
def site_file(cohort: Path, site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> Path:
    site_yaml["data"]["root"] = str(cohort)
    site_yaml["budget"]["delta"] = 1e-5
    return write_site(site_yaml)


def ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["wardround", "site", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        wardround.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out + err


def test_findings_are_told_on_screen_page_and_as_json_and_are_no_error(
    site_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "bias.html"
    before = set(tmp_path.rglob("*"))
    code, out = ended(capsys, monkeypatch, "--config", site_file, "--bias", "--report", page, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)["bias"]
    subjects = {
        finding["subject"]
        for audit in found["audits"]
        for finding in audit["findings"]
        if finding["verdict"] == "found"
    }
    assert {"race Black: doubt", "race, by image", "race, with scanner"} <= subjects
    assert found["found"] == len(subjects)
    assert set(tmp_path.rglob("*")) - before == {page}
    html = page.read_text(encoding="utf-8")
    assert "Words of doubt are in" in html
    assert "A certain look of the" in html
    assert not re.search(r"<script|https?://|<link|@import|src=|href=\"(?!data:image/png)", html)
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--report", "bias.html"), "--report bias.html: is for the bias audit; give --bias too"),
        (("--terms", "own.csv"), "--terms own.csv: is for the bias audit; give --bias too"),
        (("--bias", "--report", "bias.pdf"), "--report bias.pdf: the page is HTML"),
        (("--bias", "--report", "nowhere/bias.html"), "no such folder nowhere"),
        (("--bias", "--terms", "own.csv"), "own.csv: the list of words cannot be read"),
    ],
)
def test_wrong_options_are_refused_before_a_study_is_read(
    arguments: tuple[str, ...],
    message: str,
    site_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out = ended(capsys, monkeypatch, "--config", site_file, *arguments)
    assert code == 2
    assert message in out
