"""Answers of a hospital with one fault each, such as faulty code behind the gate would send.

Each starts from production's own answer to a task, which holds an update that is paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flwr.app import ConfigRecord, RecordDict

from common.canonical import digest
from common.privacy.release import Mechanism, Release
from common.wire.flower import RELEASES, ROUND_FIELD, SITE, STATISTICS, UPDATE, Reply, reply_to_records

STUDY = "pneumothorax of patient 4711"
"""Stands for what a study holds; found nowhere in what a hospital may say."""

Fault = Callable[[Reply], RecordDict]


def report_in_a_record_of_its_own(reply: Reply) -> RecordDict:
    """A record that is listed nowhere."""
    records = reply_to_records(reply)
    records["note"] = ConfigRecord({"text": STUDY})
    return records


def report_beside_the_name(reply: Reply) -> RecordDict:
    """A field that the record does not have."""
    records = reply_to_records(reply)
    records.config_records[SITE]["note"] = STUDY
    return records


def report_beside_the_list(reply: Reply) -> RecordDict:
    """A field beside the list of releases."""
    records = reply_to_records(reply)
    records.config_records[RELEASES]["note"] = STUDY
    return records


def count_in_place_of_the_round(reply: Reply) -> RecordDict:
    """A number that the site chose."""
    records = reply_to_records(reply)
    records.config_records[SITE][ROUND_FIELD] = 4711
    return records


def array_beside_the_update(reply: Reply) -> RecordDict:
    """An array that the model does not have."""
    arrays = reply.update or {}
    return reply_to_records(replace(reply, update={**arrays, "reports": next(iter(arrays.values()))}))


def exact_figures(reply: Reply) -> RecordDict:
    """Counts of held-out patients without noise."""
    release = Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE)
    kept = tuple(one for one in reply.releases if one.name != STATISTICS)
    return reply_to_records(replace(reply, statistics={"text": STUDY}, releases=(*kept, release)))


def update_that_is_not_listed(reply: Reply) -> RecordDict:
    """The list leaves it out."""
    return reply_to_records(replace(reply, releases=tuple(one for one in reply.releases if one.name != UPDATE)))


def update_called_public(reply: Reply) -> RecordDict:
    """As if it were not of patients."""
    return _with_update(reply, mechanism=Mechanism.PUBLIC, event=None, ledger_entry=None)


def update_without_privacy(reply: Reply) -> RecordDict:
    """Made without noise, and said to be."""
    return _with_update(reply, mechanism=Mechanism.NOT_PRIVATE, event=None, ledger_entry=None)


def update_that_nobody_paid_for(reply: Reply) -> RecordDict:
    """The ledger has no such entry."""
    return _with_update(reply, ledger_entry=digest([STUDY]))


def update_of_more_noise_than_was_charged(reply: Reply) -> RecordDict:
    """Its event is another than the ledger's."""
    (event,) = (one.event for one in reply.releases if one.name == UPDATE)
    return _with_update(reply, event=replace(event, noise_multiplier=2 * getattr(event, "noise_multiplier", 1.0)))  # type: ignore[type-var]


def _with_update(reply: Reply, **changes: Any) -> RecordDict:  # noqa: ANN401 - fields of a release
    releases = tuple(replace(one, **changes) if one.name == UPDATE else one for one in reply.releases)
    return reply_to_records(replace(reply, releases=releases))


FAULTS: tuple[Fault, ...] = (
    report_in_a_record_of_its_own,
    report_beside_the_name,
    report_beside_the_list,
    count_in_place_of_the_round,
    array_beside_the_update,
    exact_figures,
    update_that_is_not_listed,
    update_called_public,
    update_without_privacy,
    update_that_nobody_paid_for,
    update_of_more_noise_than_was_charged,
)
