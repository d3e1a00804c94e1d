"""What is said to a person, and that no one is taken to agree who did not."""

from __future__ import annotations

import io
import logging
from datetime import timedelta

import pytest

from common.errors import CheckFailed, ConfigError
from common.trust.display import confirm, show_expiries, spoken
from common.trust.times import Expiry
from tests.common.trust.pki import NOW


class Terminal(io.StringIO):
    """A person's, where they type."""

    def isatty(self) -> bool:
        """Whether it is one."""
        return True


def test_digest_is_spoken_in_groups_and_loses_nothing() -> None:
    digest = "0123456789abcdef" * 4
    assert spoken(digest).split(" ")[:2] == ["0123", "4567"]
    assert spoken(digest).replace(" ", "") == digest


def test_every_end_is_shown_and_a_near_one_is_warned_of(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    far, near = (
        Expiry(what=what, begin=NOW, end=NOW + timedelta(days=days), remedy="make another")
        for what, days in (("far thing", 31), ("near thing", 29))
    )
    with caplog.at_level(logging.WARNING):
        show_expiries([far, near], NOW)
    assert capsys.readouterr().out.splitlines() == [
        "Far thing: expires on 2026-12-25, in 31 days",
        "Near thing: expires on 2026-12-23, in 29 days",
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "near thing: expires on 2026-12-23, in 29 days; make another"
    ]


def test_question_is_not_asked_where_it_was_answered_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    confirm("Sure?", yes=True)


def test_no_terminal_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(ConfigError, match="--yes"):
        confirm("Sure?", yes=False)


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_anything_but_yes_at_a_terminal_changes_nothing(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: answer.strip())
    with pytest.raises(CheckFailed, match="nothing was changed"):
        confirm("Sure?", yes=False)


def test_yes_at_a_terminal_is_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    confirm("Sure?", yes=False)
