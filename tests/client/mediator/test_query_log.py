"""The record of a hospital's own queries: complete, without words, and nothing of it can be changed unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.mediator.mediator import Mediator
from client.mediator.own_sure import HitSure
from client.mediator.query_log import RECORDS_FILE, WATTS, QueryLog, ShownHit, check_records, record_of
from client.mediator.understood import understood
from client.mediator.validate import Judged, Verdict
from client.state_folder import KEY_FILE
from common.errors import TrustError
from common.retrieval.relevance import Sure, Word
from common.trust.keys import SigningKey

QUERY = "pneumonia xylophone, no effusion"


def record(query: str = QUERY, *, keep_words: bool = False) -> dict[str, object]:
    judged = (Judged(verdict=Verdict.FITS, words="pneumonia: named"),)
    sure = Sure(word=Word.ABOUT, probability=0.31, low=0.2, high=0.4)
    shown = [ShownHit(handle="h1", distance=12, judged=judged, told=HitSure(sure=sure, in_set=True, rank=-1))]
    made = understood(query, Mediator())
    return record_of(made, shown, model="a" * 64, user="anna", alone=True, cpu_seconds=0.5, keep_words=keep_words)


def recorded(folder: Path) -> Path:
    """A state folder with three queries of the page."""
    folder.mkdir()
    SigningKey.create(folder / KEY_FILE)
    with QueryLog(folder, writer="page", owner="north") as log:
        for query in (QUERY, "MS", "pneumonia"):
            log.note(record(query))
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return recorded(tmp_path / "state")


def test_record_holds_plan_checks_reasons_and_energy_and_no_word_of_the_query() -> None:
    kept = record()
    assert [one["concept"]["meaning"] for one in kept["plan"]["wanted"]] == ["pneumonia"]  # type: ignore[index]
    told = {"relevance": {"word": "about", "probability": 0.31, "low": 0.2, "high": 0.4}, "in_90_set": True, "rank": -1}
    assert kept["shown"] == [{"handle": "h1", "distance": 12, "reasons": [["fits", "pneumonia: named"]], **told}]
    assert (kept["proposer"], kept["encoder"], kept["user"]) == ("lexical", "a" * 64, "anna")
    assert "negation" in kept["checks"]  # type: ignore[operator]
    assert kept["joules"] == 0.5 * WATTS
    assert "xylophone" not in json.dumps(kept)
    assert record(keep_words=True)["words"] == QUERY, "where the policy keeps them"


def test_record_holds(state: Path) -> None:
    assert check_records(state / "queries" / "page") == "3 queries, each with its record"
    assert (state / "queries" / "page" / RECORDS_FILE).stat().st_mode & 0o077 == 0


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"anna"', b'"otto"'), lines[2]]


@pytest.mark.parametrize(
    "tamper",
    [changed, lambda lines: [lines[0], lines[2]], lambda lines: [lines[1], lines[0], lines[2]]],
    ids=["changed", "removed", "exchanged"],
)
def test_tampered_record_is_named(state: Path, tamper: object) -> None:
    path = state / "queries" / "page" / RECORDS_FILE
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(tamper(lines)) + b"\n")  # type: ignore[operator]
    with pytest.raises(TrustError, match=r"queries\.jsonl: the record of entry 3"):
        check_records(path.parent)


def test_record_that_a_crash_left_without_entry_does_not_count(state: Path) -> None:
    path = state / "queries" / "page" / RECORDS_FILE
    path.write_bytes(path.read_bytes() + b'{"half')
    assert check_records(path.parent) == "3 queries, each with its record"
    with QueryLog(state, writer="page", owner="north") as log:
        log.note(record())
    assert check_records(path.parent) == "4 queries, each with its record"


def test_second_writer_is_refused(state: Path) -> None:
    first, second = (QueryLog(state, writer="page", owner="north") for _ in range(2))
    with first, second:
        first.note(record())
        with pytest.raises(TrustError, match="another process has it open"):
            second.note(record())
