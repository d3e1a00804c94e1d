"""`wardround audit privacy` prints the bound beside each claim, writes a page, and ends with 1 where one is broken."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wardround
from simulations.audits import privacy_cli
from simulations.audits.privacy.interface import CHECKS, QUICK, Curve, Outcome, Picture, Plot
from simulations.audits.privacy.page import draw, render
from simulations.audits.privacy.subject import Subject
from simulations.audits.privacy.words import headline, verdict
from tests.simulations.audits.privacy.broken import noise_of


def outcome(**given: Any) -> Outcome:
    told: dict[str, Any] = {
        "name": "some",
        "question": "Is it?",
        "claim": "It is.",
        "seconds": 1.5,
        "holds": True,
        "sentence": "It was <measured>.",
        "power": "Some of it.",
    }
    return Outcome(**(told | given))


def run(monkeypatch: pytest.MonkeyPatch, subject: Subject, *arguments: str) -> int:
    """The exit code of the command on a subject that is ready."""
    monkeypatch.setattr(privacy_cli, "prepare_subject", lambda *_, **__: subject)
    monkeypatch.setattr(sys, "argv", ["wardround", "audit", "privacy", *arguments])
    with pytest.raises(SystemExit) as end:
        wardround.main()
    return int(end.value.code or 0)


def test_command_tells_each_check_and_writes_a_page(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "privacy.html"
    names = ["--only", "floats", "--only", "accounting"]
    assert run(monkeypatch, subject, *names, "--json", "--report", str(page)) == 0
    told = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in told["checks"]] == ["accounting", "floats"]
    accounting = told["checks"][0]
    assert accounting["holds"] is True
    assert 0 < accounting["lower_bound"] <= accounting["claimed_epsilon"] == 8.0
    assert accounting["seconds"] > 0
    assert told["unit_of_privacy"] == "patient"
    written = page.read_text(encoding="utf-8")
    assert "none broke a promise" in written
    for never in ("<script", "http://", "https://", "is private<", "proves"):
        assert never not in written.replace("does not prove", "")


def test_command_ends_with_one_where_a_promise_is_broken(
    subject: Subject, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy_cli, "PRODUCTION", noise_of(0.0))
    assert run(monkeypatch, subject, "--only", "noise") == 1
    shown = capsys.readouterr()
    assert "does not hold" in shown.out
    assert "noise: what is promised does not hold" in " ".join(shown.err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "noize"], "did you mean noise"),
        (["privacy.epsilon=null"], "set privacy.epsilon=8"),
        (["--report", "page.txt"], "ends in .html"),
    ],
)
def test_command_refuses_what_it_cannot_do(
    subject: Subject,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    assert run(monkeypatch, subject, *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_quick_checks_are_known() -> None:
    assert set(QUICK) <= set(CHECKS.names)


def test_page_shows_plots_pictures_and_escapes_text(subject: Subject) -> None:
    plot = Plot(
        title="A plot",
        x="rounds",
        y="epsilon",
        curves=(Curve(label="one", x=(0.0, 1.0), y=(2.0, 2.0), low=(1.0, 1.0), high=(3.0, 3.0)),),
    )
    picture = Picture("a picture", np.zeros((4, 4), dtype=np.uint8))
    found = outcome(
        plots=(plot,), pictures=(picture,), holds=None, claimed_epsilon=8.0, lower_bound=1.8, confidence=0.95
    )
    page = render([found], subject)
    assert "It was &lt;measured&gt;." in page
    assert page.count("data:image/png;base64,") == 1
    assert "with 95% confidence: at least 1.8" in page
    assert "cannot tell" in page


def test_drawing_stays_within_its_frame() -> None:
    curve = Curve(label="one", x=(1.0, 5.0), y=(0.0, 10.0), low=(-1.0, 9.0), high=(1.0, 11.0))
    drawn = draw(Plot(title="", x="", y="", curves=(curve,)))
    ((_, points, bars),) = drawn.lines
    assert all(70 <= x <= 704 and 16 <= y <= 270 for x, y in points)
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]
    assert all(high < low for _, low, high in bars)


def test_words_count_what_broke() -> None:
    good, bad, silent = outcome(), outcome(name="bad", holds=False), outcome(holds=None)
    assert headline([good]) == "1 attack on the running code: none broke a promise"
    assert headline([good, bad, silent]) == "3 attacks on the running code: 1 broke a promise (bad); 1 could not tell"
    assert verdict(good) == "No epsilon is claimed."
    told = verdict(replace(good, claimed_epsilon=3.0, lower_bound=2.0))
    assert told == "Claimed: epsilon 3 at most. Shown, by arithmetic: at least 2."
