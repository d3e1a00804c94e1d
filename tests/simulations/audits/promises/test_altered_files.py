"""Every signed file, changed anywhere: something says so. Cut short, empty, of no numbers or huge: one line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from common.errors import WardroundError
from common.evidence.manifest import MANIFEST_FILE, STATE_FILE
from common.ledger.read import read_books
from simulations.audits.promises import indexes, signed_files
from simulations.audits.promises.answers import Answer, Check
from simulations.audits.promises.handed_over import handed_over
from simulations.audits.promises.opened import opened
from tests.simulations.audits.promises.signed_run import CENTRE, SignedRun

EVIDENCE = (
    "east/state/ledger.sqlite3",
    "north/state/log/log.jsonl",
    f"run/logs/{CENTRE}/log.jsonl",
    f"run/{MANIFEST_FILE}",
    f"run/{STATE_FILE}",
    "run/config.yaml",
    "run/summary.json",
    "run/rounds.jsonl",
    "run/report.html",
    "members.json",
    "west/state/search/head.json",
)
"""Below the folder of a signed run."""


def checks(signed: SignedRun) -> list[Check]:
    """What is found of everything that is signed."""
    read = opened(handed_over(signed.run, sites=signed.states, members=signed.members))
    return [*signed_files.checks(read), *indexes.checks(read)]


def failing(signed: SignedRun) -> list[str]:
    """Lines of the checks that fail."""
    return [check.says for check in checks(signed) if check.answer is Answer.FAILS]


@pytest.mark.parametrize("name", EVIDENCE)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_changed_bit_of_a_signed_file_is_found(signed: SignedRun, name: str, share: float, bit: int) -> None:
    path = signed.folder / name
    before = path.read_bytes()
    content = bytearray(before)
    content[int(share * len(before))] ^= 1 << bit
    assume(says_another_thing(path, before, bytes(content)))
    path.write_bytes(content)
    try:
        lines = failing(signed)
    finally:
        path.write_bytes(before)
    assert lines, "nobody noticed"
    assert all("\n" not in line for line in lines)


def says_another_thing(path: Path, before: bytes, after: bytes) -> bool:
    """Whether a change is one of content: SQLite has free bytes, and signed JSON may be written with other spaces."""
    if path.suffix == ".sqlite3":
        return has_other_entries(path, before, after)
    if path.name == "head.json":
        try:
            return bool(json.loads(after) != json.loads(before))
        except ValueError:
            return True
    # The end of a last line that is cut short does not count: a crash in the midst of writing leaves that.
    return not (path.name == "log.jsonl" and not after.endswith(b"\n"))


def has_other_entries(path: Path, before: bytes, after: bytes) -> bool:
    path.write_bytes(after)
    try:
        changed = [entry.as_bytes() for entry in read_books(path)]
    except WardroundError:  # the change was seen
        return True
    finally:
        path.write_bytes(before)
    return changed != [entry.as_bytes() for entry in read_books(path)]


@pytest.mark.parametrize("name", EVIDENCE)
def test_file_that_is_cut_short_or_empty_is_one_line_that_names_it(signed: SignedRun, name: str) -> None:
    path = signed.folder / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        found = [check for check in checks(signed) if check.answer is Answer.FAILS]
        assert any(str(path) in check.says for check in found), [check.says for check in found]
        assert all("\n" not in check.says for check in found)
        assert max(check.exit_code for check in found) == 4


def test_file_of_no_numbers_is_one_line(signed: SignedRun) -> None:
    summary = signed.run / "summary.json"
    summary.write_text(summary.read_text().replace('"seconds": 3.0', '"seconds": NaN'))
    part = opened(handed_over(signed.run, sites=(), members=None)).summary
    assert str(part.error) == f"{summary}: is empty, cut short or damaged; ask for it again"
    summary.write_text("[" * 100_000)
    part = opened(handed_over(signed.run, sites=(), members=None)).summary
    assert "is empty, cut short or damaged" in str(part.error)


@pytest.mark.parametrize("name", ["run/summary.json", "east/state/ledger.sqlite3", "north/state/log/log.jsonl"])
def test_huge_file_is_not_read(signed: SignedRun, name: str) -> None:
    path = signed.folder / name
    os.truncate(path, 1 << 41)
    read = opened(handed_over(signed.run, sites=signed.states, members=signed.members))
    lines = [str(read.summary.error), *(finding.says for finding in read.evidence.findings if finding.error)]
    assert any(str(path) in line and "MiB" in line for line in lines), lines
    shutil.rmtree(signed.folder)
