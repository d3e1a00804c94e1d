"""The forms that the records of a reply may have, and the list that each of them must stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from common.errors import AdmissionError, PolicyRefusal
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    BAND_FIELD,
    GROUPS,
    HEAD_FIELD,
    JSON_FIELD,
    NAME_FIELD,
    PAIR_KEY_FIELD,
    RELEASES,
    ROUND_FIELD,
    RUN_FIELD,
    SITE,
    STATISTICS,
    UPDATE,
    releases_of,
    releases_to_record,
)
from common.wire.searching import FOUND

Forms = Mapping[str, Mapping[str, type]]
"""The records of a reply that hold no arrays, and the fields that each may have."""

OF_A_ROUND: Forms = {
    SITE: {
        NAME_FIELD: str,
        BAND_FIELD: str,
        PAIR_KEY_FIELD: str,
        HEAD_FIELD: str,
        ROUND_FIELD: int,
        RUN_FIELD: str,
    },
    STATISTICS: {JSON_FIELD: str},
    GROUPS: {JSON_FIELD: str},
}
OF_A_SEARCH: Forms = {FOUND: {JSON_FIELD: str}}

MECHANISMS = {
    SITE: frozenset({Mechanism.PUBLIC}),
    STATISTICS: frozenset({Mechanism.DISCRETE_LAPLACE, Mechanism.DISCRETE_GAUSSIAN, Mechanism.NOT_PRIVATE}),
    GROUPS: frozenset({Mechanism.DISCRETE_LAPLACE, Mechanism.DISCRETE_GAUSSIAN}),
    UPDATE: frozenset({Mechanism.PATIENT_DP_SGD, Mechanism.NOT_PRIVATE}),
    FOUND: frozenset({Mechanism.SEARCH_ANSWER}),
}
"""How each record of a reply can have been made at all; the site's policy allows some of it."""


def listed(records: RecordDict, forms: Forms, *, arrays: str | None = None) -> Mapping[str, Release]:
    """The releases by name, each of a form that it may have.

    Args:
        records: Of the reply.
        forms: What it may hold beside the list.
        arrays: The one record that holds arrays; None where none may.

    Raises:
        PolicyRefusal: The list is missing, holds something else too, names one twice or one that is not there; or a
            record is not listed, or of another form.
    """
    try:
        listed: Sequence[Release] = releases_of(records)
    except AdmissionError as error:
        raise PolicyRefusal("the reply lists no releases") from error
    if records[RELEASES] != releases_to_record(listed):
        raise PolicyRefusal(f"{RELEASES!r} holds more than a list of releases")
    releases = {release.name: release for release in listed}
    if len(releases) != len(listed) or not releases.keys() <= records.keys():
        raise PolicyRefusal(f"{RELEASES!r} names a record twice, or one that the reply does not hold")
    for name in records:
        if name != RELEASES:
            _check_form(name, records, releases, forms, arrays)
    return releases


def _check_form(
    name: str, records: RecordDict, releases: Mapping[str, Release], forms: Forms, arrays: str | None
) -> None:
    if name not in releases:
        raise PolicyRefusal(f"the reply holds {name!r}, which is not listed as a release")
    if releases[name].mechanism not in MECHANISMS.get(name, frozenset()):
        raise PolicyRefusal(f"the reply holds {name!r}, which cannot be made by {releases[name].mechanism}")
    record = records[name]
    if name == arrays:
        if not isinstance(record, ArrayRecord):
            raise PolicyRefusal(f"{name!r} is not a record of arrays")
    elif not (isinstance(record, ConfigRecord) and _has_known_fields(record, forms.get(name, {}))):
        raise PolicyRefusal(f"{name!r} is not a record of the known fields")


def _has_known_fields(record: ConfigRecord, known: Mapping[str, type]) -> bool:
    return all(type(value) is known.get(field) for field, value in record.items())
