"""Filters by what is recorded, against plain words; and an index of the first version, which knows less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.search import generation
from client.search.build import build, withdraw
from client.search.generation import read_head, search_folder
from client.search.index import Gallery, SearchIndex
from client.search.traits import TRAITS, TRAITS_OF_FIRST, Filter, names_in, recorded_in, traits_of, widened
from client.state_folder import KEY_FILE
from common.errors import TrustError
from common.trust.keys import SigningKey
from common.types import BadRow, Lacks, StudyRecord, Unpaired
from tests.client.search.conftest import StandInModel, opened

DAYS = st.dates(date(1990, 1, 1), date(1990, 1, 20))
RECORDS = st.lists(
    st.builds(
        StudyRecord,
        st.just("s"),
        st.just("p"),
        st.just(""),
        sex=st.sampled_from(["F", "M", None]),
        age=st.none() | st.integers(0, 120),
        scanner=st.sampled_from(["Force", None]),
        date=st.none() | DAYS,
        modality=st.sampled_from(["CT", "MR", "DX", None]),
    ),
    max_size=20,
)
FILTERS = st.builds(
    Filter,
    sex=st.sampled_from([None, "F", "M"]),
    dates=st.none() | st.tuples(DAYS, DAYS),
    modality=st.sampled_from([None, "CT", "MR", "US"]),
)


@given(RECORDS, FILTERS)
def test_filter_lets_through_what_is_known_to_fit(records: list[StudyRecord], only: Filter) -> None:
    def fits(record: StudyRecord) -> bool:
        in_time = not only.dates or (record.date is not None and only.dates[0] <= record.date <= only.dates[1])
        return in_time and only.modality in {None, record.modality} and only.sex in {None, record.sex}

    assert only.mask(traits_of(records)).tolist() == [fits(record) for record in records]


@given(RECORDS)
def test_recorded_is_what_narrows_and_keeps_all_that_is_known(records: list[StudyRecord]) -> None:
    traits_M, days = traits_of(records), [record.date for record in records if record.date]
    found = recorded_in(traits_M)
    assert found.dates == ((min(days), max(days)) if days else None)
    if found.dates:
        assert Filter(dates=found.dates).mask(traits_M).sum() == len(days)
    names = names_in(
        [*records, BadRow("f", 1, "r"), Unpaired(StudyRecord("u", "p", "", modality="XA"), Lacks.IMAGE, "")]
    )
    assert names.modalities == tuple(sorted({record.modality for record in records if record.modality}))


def test_older_traits_are_kept_and_the_rest_is_not_known() -> None:
    old_M = np.array([(1, 40, 7), (0, 255, 0)], TRAITS_OF_FIRST)
    wide_M = widened(old_M)
    assert wide_M.dtype == TRAITS
    assert [tuple(row) for row in wide_M[["sex", "age", "scanner"]].tolist()] == [(1, 40, 7), (0, 255, 0)]
    assert recorded_in(wide_M).dates is None
    assert not Filter(dates=(date.min, date.max)).mask(wide_M).any()


@pytest.fixture
def older(site: SiteConfig, model: StandInModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have an index as the first version wrote it."""

    def write() -> None:
        with monkeypatch.context() as first:
            plain = generation.IndexWriter.write

            def as_first(self: Any, studies: Any, **options: Any) -> Any:
                traits = np.zeros(len(studies), TRAITS_OF_FIRST)
                for name in TRAITS_OF_FIRST.names or ():
                    traits[name] = studies.traits[name]
                return plain(self, replace(studies, traits=traits), **options)

            first.setattr(generation, "VERSION", 1)
            first.setattr(generation.IndexWriter, "write", as_first)
            build(site, model)
        assert read_head(search_folder(site), key=SigningKey.load(site.state_folder / KEY_FILE).public).version == 1

    return write


def test_older_index_is_not_searched_and_the_next_pass_completes_it(
    site: SiteConfig, model: StandInModel, older: Callable[[], None]
) -> None:
    older()
    with pytest.raises(TrustError, match="older wardround; run wardround site index"):
        opened(site, model)
    built = build(site, model)
    assert (built.head.version, built.num_gone) == (2, 0)
    assert len(opened(site, model)) == built.num_studies == 13


def test_what_was_withdrawn_from_an_older_index_stays_out(
    site: SiteConfig, model: StandInModel, older: Callable[[], None]
) -> None:
    older()
    built = withdraw(site, patients=["p3"])
    assert (built.head.version, built.head.source, built.num_gone) == (2, "", 1)
    assert build(site, model).num_kept_out == 1
    index = opened(site, model)
    assert all(index.study_of(hit.handle) != "s3" for hit in _all(index, model))


def test_day_and_modality_of_the_folder_narrow_a_search(
    site_yaml: dict[str, Any],
    write_site: Callable[[Mapping[str, Any]], Path],
    write_studies: Callable[..., Path],
    model: StandInModel,
) -> None:
    folder = write_studies(4)
    table = folder / "manifest.csv"
    more = ["date,modality", "2020-01-01,CT", "20200601,MR", ",CT", "03/04/2020,"]
    lines = [f"{line},{extra}" for line, extra in zip(table.read_text().splitlines(), more, strict=True)]
    table.write_text("\n".join(lines) + "\n")
    site = load_site_config(write_site(site_yaml))
    SigningKey.create(site.state_folder / KEY_FILE)
    build(site, model)
    index = opened(site, model)

    def found(only: Filter) -> set[str]:
        return {index.study_of(hit.handle) for hit in _all(index, model, only)}

    assert found(Filter(dates=(date(2020, 1, 1), date(2020, 5, 31)))) == {"s0"}
    assert found(Filter(dates=(date(2020, 1, 1), date(2020, 12, 31)))) == {"s0", "s1"}, "one that is not known is out"
    assert found(Filter(modality="CT")) == {"s0", "s2"}
    assert found(Filter(modality="CT", dates=(date(2020, 1, 2), date.max))) == set()


def _all(index: SearchIndex, model: StandInModel, only: Filter | None = None) -> Any:
    return index.search(model.code(1), gallery=Gallery.REPORTS, k=1000, only=only)
