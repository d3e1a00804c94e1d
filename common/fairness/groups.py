"""Which groups a study belongs to, and which groups are too small to be shown.

The least number of patients is 11: the CMS cell size suppression policy forbids cells of 1 to 10, directly or
derivable, and PCORnet asks for the same. Suppression is not differential privacy: under a privacy budget the
decision is taken on noised counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from common.types import StudyRecord

ATTRIBUTES = ("sex", "age_band", "scanner", "race", "language")

AGE_BANDS = ("0-17", "18-39", "40-59", "60-79", "80+")
_BAND_STARTS = (18, 40, 60, 80)

LEAST_PATIENTS = 11


def age_band(age: int) -> str:
    """The band of `AGE_BANDS` that holds an age in completed years."""
    return AGE_BANDS[bisect_right(_BAND_STARTS, age)]


def group_of(record: StudyRecord) -> dict[str, str]:
    """The study's group under each attribute that is recorded for it.

    A study whose attribute is missing is in no group of that attribute. Groups follow the study, so a patient
    who was imaged on two scanners, or before and after a birthday, counts in both groups.
    """
    groups = {
        "sex": record.sex,
        "age_band": None if record.age is None else age_band(record.age),
        "scanner": record.scanner,
        "race": record.race,
        "language": record.language,
    }
    return {attribute: group for attribute, group in groups.items() if group}


def suppressed_groups(
    num_patients: Mapping[str, int], *, total: int, num_ungrouped: int, least_patients: int = LEAST_PATIENTS
) -> frozenset[str]:
    """The groups of one attribute that must not be shown when `total` is shown beside the others.

    Guarantee: each shown group has at least `least_patients`, and so has what remains when the shown groups
    are taken from the total, unless nobody remains. A small group hidden alone would be that remainder, so
    the next smallest is hidden with it. Studies without the attribute belong to the remainder: never show
    their number, nor how many groups are hidden (eleven hidden groups of eleven patients hold one each).

    The remainder is counted as the total less the sum of the shown groups. A patient in two groups makes that
    too small, which hides more, never less.

    Args:
        num_patients: Patients of each group, at least 1 each.
        total: Patients of the site, with and without the attribute.
        num_ungrouped: Studies of the site in none of the groups.
        least_patients: The smallest number that may be shown.
    """
    smallest_first = sorted(num_patients, key=lambda group: (num_patients[group], group))
    shown = sum(num_patients.values())
    hidden: set[str] = set()
    for group in smallest_first:
        somebody_remains = bool(hidden) or num_ungrouped > 0
        derivable = somebody_remains and total - shown < least_patients
        if num_patients[group] >= least_patients and not derivable:
            break
        hidden.add(group)
        shown -= num_patients[group]
    return frozenset(hidden)
