"""Many values of the site column become a few hospitals, patient by patient, alike in size."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.splits import PUBLIC_SITE
from common.errors import ConfigError
from common.types import StudyRecord
from simulations.studies.merged_sites import merge_sites


def _record(number: int, patient: str, site: str | None) -> StudyRecord:
    return StudyRecord(study_id=f"s{number}", patient_id=patient, report="", site=site)


def _records(*studies: tuple[str, str | None]) -> list[StudyRecord]:
    return [_record(number, patient, site) for number, (patient, site) in enumerate(studies)]


def _sites(records: list[StudyRecord]) -> dict[str, str | None]:
    return {record.patient_id: record.site for record in records}


def test_largest_values_are_placed_first_each_where_fewest_patients_are() -> None:
    sizes = {"a": 5, "b": 4, "c": 3, "d": 3, "e": 1}
    found = merge_sites(
        _records(*((f"{site}{n}", site) for site, size in sizes.items() for n in range(size))), num_sites=2
    )
    # a5 | b4; then c3 to b; d3 to a; e1 to b.
    hospital_of = {patient[0]: site for patient, site in _sites(found).items()}
    assert hospital_of == {
        "a": "hospital-01",
        "b": "hospital-02",
        "c": "hospital-02",
        "d": "hospital-01",
        "e": "hospital-02",
    }


def test_size_of_a_value_is_its_patients_not_its_studies() -> None:
    studies = [("p0", "many studies")] * 50 + [("p1", "many patients"), ("p2", "many patients"), ("p3", "one")]
    found = _sites(merge_sites(_records(*studies), num_sites=2))
    assert found == {"p1": "hospital-01", "p2": "hospital-01", "p0": "hospital-02", "p3": "hospital-02"}


def test_patient_of_several_values_goes_whole_with_the_first() -> None:
    studies = [("p0", None), ("p0", "b"), ("p0", "a"), ("p1", "a"), ("p2", "a"), ("p3", "b")]
    found = merge_sites(_records(*studies), num_sites=2)
    assert len({record.site for record in found if record.patient_id == "p0"}) == 1
    assert _sites(found)["p0"] == _sites(found)["p3"] != _sites(found)["p1"]


def test_patients_without_a_value_spread_out() -> None:
    found = _sites(merge_sites(_records(*((f"p{n}", None) for n in range(30))), num_sites=3))
    assert sorted(Counter(found.values()).values()) == [10, 10, 10]


def test_public_studies_stay() -> None:
    studies = [("p0", "a"), ("p1", "b"), ("anchor", PUBLIC_SITE)]
    found = _sites(merge_sites(_records(*studies), num_sites=2))
    assert found["anchor"] == PUBLIC_SITE
    assert {found["p0"], found["p1"]} == {"hospital-01", "hospital-02"}


def test_only_the_site_of_a_record_changes() -> None:
    before = _records(("p0", "a"), ("p1", "b"))
    for old, new in zip(before, merge_sites(before, num_sites=2), strict=True):
        assert (old.study_id, old.patient_id, old.split_group) == (new.study_id, new.patient_id, new.split_group)


def test_names_sort_as_they_are_numbered() -> None:
    found = merge_sites(_records(*((f"p{n}", None) for n in range(120))), num_sites=100)
    names = sorted({record.site for record in found if record.site})
    assert (names[0], names[1], names[-1], len(names)) == ("hospital-001", "hospital-002", "hospital-100", 100)


def test_fewer_values_than_hospitals_are_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"data\.merged_sites=3: .*2 sites to merge; lower it, or name another"):
        merge_sites(_records(("p0", "a"), ("p1", "b"), ("p2", "b")), num_sites=3)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([None, *"abcdefgh"])), min_size=1, max_size=120),
    st.integers(1, 5),
)
def test_nobody_is_at_two_hospitals_none_is_empty_and_sizes_differ_by_one_value(
    drawn: list[tuple[int, str | None]], num_sites: int
) -> None:
    records = _records(*((f"p{patient}", site) for patient, site in drawn))
    try:
        found = merge_sites(records, num_sites=num_sites)
    except ConfigError:
        return
    sites_of: dict[str, set[str | None]] = defaultdict(set)
    for record in found:
        sites_of[record.patient_id].add(record.site)
    assert all(len(sites) == 1 for sites in sites_of.values())
    held = Counter(next(iter(sites)) for sites in sites_of.values())
    assert len(held) == num_sites
    first_named: dict[str, str | None] = {}
    for record in records:
        first_named[record.patient_id] = first_named.get(record.patient_id) or record.site
    largest = max(Counter(site or patient for patient, site in first_named.items()).values())
    assert max(held.values()) - min(held.values()) <= largest
