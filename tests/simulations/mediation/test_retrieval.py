"""Queries made of cases, and plans measured against words, on a small pack whose answers are known."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from client.mediator import validate
from client.mediator.shown_pairs import ShownPairs
from common.errors import ConfigError
from common.retrieval.relevance_pairs import ScoredPairs
from simulations.mediation.cases import KINDS, Asked, Case, queries_of, read_cases, split_of
from simulations.mediation.retrieval import Ranked, coder_of, ranked, sureness

FINDINGS = ("pneumonia", "pneumothorax", "pleural effusion", "renal mass", "pulmonary embolism")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """100 cases with one or two findings each; a caption names what the case has, and denies one more."""
    rows, groups = [], []
    for at in range(100):
        here = [FINDINGS[at % 5], *([FINDINGS[(at + 1) % 5]] if at % 2 else [])]
        caption = f"CT shows {' and '.join(here)}, slice {at}. No {FINDINGS[(at + 3) % 5]}."
        rows.append((f"C{at}", caption, ". ".join(here), "", f"G{at}"))
        groups.append((f"G{at}", "public" if at < 50 else "test"))
    _write(tmp_path / "metadata.csv", ("patient_id", "text", "findings", "diagnosis", "split_group"), rows)
    _write(tmp_path / "splits.csv", ("split_group", "split_1"), groups)
    return tmp_path


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Which words a text holds, in 256 places: deaf to "no", as codes are."""
    found = np.zeros((len(texts), 256), np.float32)
    for row, text in zip(found, texts, strict=True):
        row[[zlib.crc32(word.strip(",.").lower().encode()) % 256 for word in text.split()]] = 1
    return found


def measured(pack: Path) -> tuple[dict[str, Case], Ranked, Ranked]:
    cases = read_cases(pack)
    public, test = split_of(pack, 1)
    code = coder_of(cases, public, bag_of_words)
    return cases, ranked(cases, public, code, seed=1), ranked(cases, test, code, seed=1)


def test_cases_hold_what_their_findings_name_and_captions_only_are_searched(pack: Path) -> None:
    cases = read_cases(pack)
    assert {one.meaning.lower() for one in cases["C1"].findings} == {"pneumothorax", "pleural effusion"}
    assert [record.report for record in cases["C0"].records] == ["CT shows pneumonia, slice 0. No renal mass."]
    public, test = split_of(pack, 1)
    assert (len(public), len(test), public & test) == (50, 50, frozenset())


def test_negating_query_wants_one_finding_without_another_that_some_of_its_cases_have(pack: Path) -> None:
    cases = read_cases(pack)
    asked = [one for one in queries_of(list(cases.values()), seed=1) if one.kind == "negating"]
    assert asked
    for one in asked:
        wanted, excluded = one.text.split(", no ")
        assert (one.wanted[0].meaning.lower(), one.excluded[0].meaning.lower()) == (wanted, excluded)
        assert one.fits(cases[one.case])
        assert any(case.holds(one.wanted[0]) and case.holds(one.excluded[0]) for case in cases.values())


def test_every_kind_of_query_is_made_and_the_same_seed_makes_the_same(pack: Path) -> None:
    cases = list(read_cases(pack).values())
    asked = queries_of(cases, seed=1)
    assert {one.kind for one in asked} == set(KINDS)
    assert asked == queries_of(cases, seed=1)
    short: list[Asked] = [one for one in asked if one.kind == "abbreviating"]
    assert "PE" in {one.text.split(",")[0] for one in short}
    assert "mass" in {one.text for one in asked if one.kind == "under-specified"}


def test_plan_finds_more_than_words_where_words_are_deaf(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precisions = measured(pack)[2].precisions()["negating"]
    assert precisions["plan"].mean() > 1.1 * precisions["words"].mean()
    for share in ("NOT_NAMED", "CONTRADICTED", "RULED_OUT"):
        monkeypatch.setattr(validate, share, 0.0)
    without = measured(pack)[2].precisions()["negating"]
    assert without["plan"] == pytest.approx(without["plan's text"]), "the order is the rules' doing"


def test_own_case_never_answers_and_a_small_pack_tells_nothing(pack: Path) -> None:
    _, of_public, of_test = measured(pack)
    shown = of_test.pairs()
    assert (shown.pairs.query_patients_M != shown.pairs.item_patients_M).all()
    assert not set(shown.pairs.patients) & set(of_public.pairs().pairs.patients)
    assert sureness(of_public.pairs(), shown) is None, "fewer than ten cases ask"


def drawn(seed: int, *, first_patient: int, turned: bool = False) -> ShownPairs:
    """5,000 pairs whose scores are the probabilities that they are relevant; or, turned, that they are not."""
    generator = np.random.default_rng(seed)
    scores_M = generator.random(5000)
    queries_M = np.arange(5000) // 50
    pairs = ScoredPairs(
        scores_M=scores_M,
        relevant_M=generator.random(5000) < (1 - scores_M if turned else scores_M),
        queries_M=queries_M,
        query_patients_M=first_patient + queries_M,
        item_patients_M=first_patient + 1000 + np.arange(5000) % 50,
        weights_M=np.ones(5000),
    )
    return ShownPairs(pairs=pairs, base_rate=pairs.base_rate)


def test_sureness_holds_where_the_score_is_the_probability_and_not_where_it_is_turned() -> None:
    told = sureness(drawn(1, first_patient=0), drawn(2, first_patient=5000))
    assert told is not None
    assert told.error < 0.05
    assert told.coverage == pytest.approx(0.9, abs=0.03)
    assert told.num_patients == 100
    assert told.chance == pytest.approx(1.96 * (0.9 * 0.1 / 100) ** 0.5, rel=1e-3)
    turned = sureness(drawn(1, first_patient=0), drawn(2, first_patient=5000, turned=True))
    assert turned is not None
    assert turned.error > 0.3


def test_absent_pack_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metadata\.csv: cannot be read .* name the folder of the pack"):
        read_cases(tmp_path)
