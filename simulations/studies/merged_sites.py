"""Fewer, larger hospitals out of a data set's many small ones (`data.merged_sites`)."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from client.data.splits import PUBLIC_SITE
from common.errors import ConfigError
from common.types import StudyRecord

Value = tuple[bool, str]
"""A value of the site column, or in its place, told apart by the flag, the name of a patient who has none."""


def merge_sites(records: Iterable[StudyRecord], *, num_sites: int) -> list[StudyRecord]:
    """The records with `hospital-01` to `hospital-NN` for their sites; public studies stay where they are.

    Values are taken by their number of patients, largest first, each to the hospital with the fewest so far. A patient
    goes whole to where the first of its studies that names a value goes, so that nobody stands at two hospitals; one
    whose studies name none counts as a value of its own, so that these patients spread out.

    Args:
        records: Of all sites.
        num_sites: Hospitals that they become.

    Raises:
        ConfigError: There are fewer values than hospitals.
    """
    records = list(records)
    value_of = _values(record for record in records if record.site != PUBLIC_SITE)
    num_patients = Counter(value_of.values())
    if len(num_patients) < num_sites:
        raise ConfigError(
            f"data.merged_sites={num_sites}: data.site_column names {len(num_patients)} sites to merge; "
            "lower it, or name another column"
        )
    hospital_of = _shared_out(num_patients, num_sites=num_sites)
    return [
        record if record.site == PUBLIC_SITE else replace(record, site=hospital_of[value_of[record.patient_id]])
        for record in records
    ]


def _values(records: Iterable[StudyRecord]) -> dict[str, Value]:
    """Value of each patient."""
    found: dict[str, Value] = {}
    for record in records:
        known = found.get(record.patient_id)
        if record.site is not None and (known is None or not known[0]):
            found[record.patient_id] = (True, record.site)
        elif known is None:
            found[record.patient_id] = (False, record.patient_id)
    return found


def _shared_out(num_patients: Counter[Value], *, num_sites: int) -> dict[Value, str]:
    width = max(2, len(str(num_sites)))
    hospitals = [(0, f"hospital-{number + 1:0{width}}") for number in range(num_sites)]
    hospital_of: dict[Value, str] = {}
    for value, count in sorted(num_patients.items(), key=lambda item: (-item[1], item[0])):
        held, name = hospitals[0]
        hospital_of[value] = name
        heapq.heapreplace(hospitals, (held + count, name))
    return hospital_of
