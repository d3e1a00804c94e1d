"""Three hospitals on loopback search each other's studies by the channel of the run that they trained."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from client.search.desk import local_now
from client.search.told_handles import open_handles
from common.evidence.log_entries import Kind, line_from_bytes
from common.evidence.log_files import LOG_FILE
from server.deploy.runs import all_runs
from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import RUN, check_evidence

pytestmark = pytest.mark.timeout(900)  # a dozen processes on two cores, beside another test

WORDS = "zyzzogeton: large left pleural effusion"
"""A word that no report and no log holds unless the question's text leaves the hospital."""


def test_hospitals_find_each_others_studies_and_nothing_but_codes_and_handles_leaves(loopback: Loopback) -> None:
    first, second, last = loopback.sites
    with loopback.running():
        loopback.make_bundle(RUN, "federation.rounds=1")
        loopback.approve()
        loopback.run()
        (run,) = all_runs(loopback.centre)
        loopback.open_search(run)
        by_words = loopback.search(first, "--text", WORDS, "--k", "5")
        picture = next((loopback.folder / first / "studies").rglob("*.png"))
        by_picture = loopback.search(first, "--image", picture)
        loopback.stop([last])
        without_one = loopback.search(first, "--text", WORDS)
        loopback.close_search(run)
    assert (by_words["sites_answered"], by_words["silent"]) == (sorted(loopback.sites), [])
    assert not by_words["partial"]
    assert {hit["site"] for hit in by_picture["hits"]} >= {first}
    assert min(hit["distance"] for hit in by_picture["hits"] if hit["site"] == first) == 0, "its own picture"
    assert without_one["partial"]
    assert without_one["sites_answered"] == sorted([first, second])
    assert [(one["site"], one["reason"]) for one in without_one["silent"]] in ([(last, "offline")], [(last, "late")])

    told = next(hit["handle"] for hit in by_words["hits"] if hit["site"] == second)
    _check_handle_opens_at_home_alone(loopback, told, home=second, elsewhere=first)
    _check_logs_say_who_asked(loopback, second, asker=first)
    _check_evidence_and_words(loopback, first, told)


def _check_handle_opens_at_home_alone(loopback: Loopback, told: str, *, home: str, elsewhere: str) -> None:
    opened = loopback.command("site", "resolve", told, "--config", loopback.site_file(home), "--reason", "tumour board")
    with (loopback.folder / home / "studies" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        assert opened.strip() in {row["study_id"] for row in csv.DictReader(file)}
    (line,) = (loopback.state(home) / "opened.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "tumour board"
    for handle, site in ((told, elsewhere), ("../../etc/passwd", home), ("A" * 64, home)):
        refused = loopback.attempt("site", "resolve", handle, "--config", loopback.site_file(site), "--reason", "x")
        assert refused.returncode == 2
        assert "none of this hospital" in refused.stderr


def _check_logs_say_who_asked(loopback: Loopback, site: str, *, asker: str) -> None:
    lines = (loopback.state(site) / "log" / LOG_FILE).read_bytes().splitlines()
    entries = [line_from_bytes(line).entry for line in lines]
    answered = [entry for entry in entries if entry.kind is Kind.QUESTION_ANSWERED]
    assert [entry.fields["asker"] for entry in answered] == [asker] * 3
    released = [entry for entry in entries if entry.kind is Kind.RELEASE and entry.fields["release"] == "found"]
    assert [entry.fields["mechanism"] for entry in released] == ["search_answer"] * 3


def _check_evidence_and_words(loopback: Loopback, first: str, told: str) -> None:
    """All logs hold together; the words are in no file, and a study's own handle in none of another hospital."""
    (run,) = all_runs(loopback.centre)
    check_evidence(loopback, run)
    drawn = loopback.folder / "cohort"
    files = [path for path in loopback.folder.rglob("*") if path.is_file() and not path.is_relative_to(drawn)]
    assert len(files) > 100
    assert not [path for path in files if b"zyzzogeton" in path.read_bytes()]
    second = loopback.sites[1]
    own = open_handles(loopback.state(second), days=10_000)
    handle = bytes.fromhex(own.own(told, today=local_now().date()))
    elsewhere = [path for path in files if not path.is_relative_to(loopback.folder / second)]
    assert not [path for path in elsewhere if handle in path.read_bytes() or handle.hex().encode() in path.read_bytes()]
    assert not [path for path in elsewhere if _holds_pixels(path, loopback.folder / first)]


def _holds_pixels(path: Path, first: Path) -> bool:
    """Whether a file outside of a hospital holds a picture of it, byte for byte."""
    if path.is_relative_to(first):
        return False
    content = path.read_bytes()
    return any(picture.read_bytes() in content for picture in list((first / "studies").rglob("*.png"))[:20])
