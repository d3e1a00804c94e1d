"""The two messages of a round as Flower records, decoded with limits and without trust.

A task (server to site) holds the model and the round; a reply (site to server) holds the update, the statistics and
the list of releases.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from common.errors import AdmissionError, LedgerError, PairKeyError
from common.pair_noise.keys import PairStatement
from common.privacy.bands import middle_of
from common.privacy.events import event_as_json, event_from_json
from common.privacy.release import Mechanism, Release
from common.wire.flower_arrays import arrays_to_record, planned_arrays
from common.wire.update import ArrayPlan, NamedArrays

T = TypeVar("T", str, int)

HELLO, MODEL, TASK = "hello", "model", "task"
UPDATE, STATISTICS, GROUPS, SITE, RELEASES = "update", "statistics", "groups", "site", "releases"
NAME_FIELD, BAND_FIELD, HEAD_FIELD, JSON_FIELD = "name", "patients-band", "ledger-head", "json"
PAIR_KEY_FIELD, PAIR_KEYS_FIELD = "pair-key", "pair-keys"
ROUND_FIELD, RUN_FIELD = "round", "run"
WIRE_VERSION = 1
MAX_STATISTICS_BYTES = 4 * 2**20

_REPLY = frozenset({SITE, RELEASES, STATISTICS, GROUPS, UPDATE})
_NUMBER_BYTES = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the server asks of a site in one round.

    Attributes:
        round_number: From 1; the last round's model is measured in round `rounds + 1`.
        config_digest: Digest of the run's configuration; a site refuses another.
        train: Whether to train, or only to measure the model on held-out patients.
        pair_keys: Statements of the sites that are asked, where they share noise; a site checks them itself.
    """

    round_number: int
    config_digest: str
    train: bool
    pair_keys: tuple[PairStatement, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What a site says of itself when it is asked who it is.

    Attributes:
        site: Its name.
        patients_band: Band of its training patients.
        pair_key: Its key for shared noise; None in a run without.
    """

    site: str
    patients_band: str
    pair_key: PairStatement | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a site answers.

    Attributes:
        site: The site's name.
        round_number: Round of the task that it answers.
        run: Config digest of that task's run.
        update: New minus old trained parameters; None when the task was only to measure.
        statistics: Retrieval statistics on held-out patients; None where the reply tells none.
        releases: One for each record of the reply.
        groups: Noised counts by group of held-out patients, cell after cell; None where the reply tells none.
        ledger_head: Digest of the last entry of the site's privacy ledger; None where the site has none.
    """

    site: str
    round_number: int
    run: str
    update: NamedArrays | None
    statistics: dict[str, Any] | None
    releases: tuple[Release, ...]
    groups: tuple[float, ...] | None = None
    ledger_head: str | None = None


def task_to_records(task: Task, model: ArrayRecord) -> RecordDict:
    """The task as Flower records; the model's record is shared by all sites of a round."""
    fields: dict[str, int | str | bool] = {
        "round": task.round_number,
        "config-digest": task.config_digest,
        "train": task.train,
    }
    if task.pair_keys:
        fields[PAIR_KEYS_FIELD] = json.dumps([statement.as_json() for statement in task.pair_keys])
    return RecordDict({MODEL: model, TASK: ConfigRecord({**fields})})


def task_from_records(records: RecordDict) -> Task:
    """The task in Flower records.

    Raises:
        AdmissionError: A field is missing, or not of its form.
    """
    try:
        fields = records.config_records[TASK]
        _check_text_size(fields)
        return Task(
            round_number=int(str(fields["round"])),
            config_digest=str(fields["config-digest"]),
            train=bool(fields["train"]),
            pair_keys=tuple(map(PairStatement.from_json, json.loads(str(fields.get(PAIR_KEYS_FIELD, "[]"))))),
        )
    except (KeyError, ValueError, TypeError, RecursionError, PairKeyError) as error:
        raise AdmissionError("the server's message is not a task of this version") from error


def hello_to_records() -> RecordDict:
    """The server's question who a node is."""
    return RecordDict({HELLO: ConfigRecord({"version": WIRE_VERSION})})


def hello_reply_to_records(hello: Hello) -> RecordDict:
    """A site's answer: its name, the band of its training patients, and the public half of a key; all of it public."""
    fields: dict[str, str | int] = {NAME_FIELD: hello.site, BAND_FIELD: hello.patients_band}
    if hello.pair_key is not None:
        fields[PAIR_KEY_FIELD] = json.dumps(hello.pair_key.as_json())
    return RecordDict(
        {
            SITE: ConfigRecord({**fields}),
            RELEASES: releases_to_record((Release(name=SITE, mechanism=Mechanism.PUBLIC),)),
        }
    )


def hello_from_records(records: RecordDict) -> Hello:
    """What a site says of itself; whether its key is its own is for the sites that share noise with it.

    Raises:
        AdmissionError: The answer is malformed, its band is none, or the key that it states is another's.
    """
    try:
        fields = records.config_records[SITE]
        _check_text_size(fields)
        name, band = str(fields[NAME_FIELD]), str(fields[BAND_FIELD])
        stated = fields.get(PAIR_KEY_FIELD)
        pair_key = None if stated is None else PairStatement.from_json(json.loads(str(stated)))
    except (KeyError, ValueError, TypeError, RecursionError, PairKeyError) as error:
        raise AdmissionError("malformed") from error
    if pair_key is not None and pair_key.site != name:
        raise AdmissionError("malformed")
    middle_of(band)
    return Hello(site=name, patients_band=band, pair_key=pair_key)


def releases_to_record(releases: Sequence[Release]) -> ConfigRecord:
    """A list of releases as the one record of a reply that is not itself a release."""
    listed = [
        {
            "name": r.name,
            "mechanism": str(r.mechanism),
            "event": event_as_json(r.event) if r.event else None,
            "ledger_entry": r.ledger_entry,
        }
        for r in releases
    ]
    return ConfigRecord({JSON_FIELD: json.dumps(listed)})


def releases_of(records: RecordDict) -> tuple[Release, ...]:
    """The releases that a reply lists.

    Raises:
        AdmissionError: The list is missing or malformed.
    """
    try:
        return tuple(_release(value) for value in _json(records.config_records[RELEASES]))
    except (KeyError, TypeError, ValueError, AttributeError, LedgerError) as error:
        raise AdmissionError("malformed") from error


def reply_to_records(reply: Reply) -> RecordDict:
    """The reply as Flower records."""
    site: dict[str, str | int] = {
        NAME_FIELD: reply.site,
        ROUND_FIELD: reply.round_number,
        RUN_FIELD: reply.run,
        HEAD_FIELD: reply.ledger_head or "",
    }
    records = RecordDict({SITE: ConfigRecord({**site}), RELEASES: releases_to_record(reply.releases)})
    if reply.statistics is not None:
        records[STATISTICS] = ConfigRecord({JSON_FIELD: json.dumps(reply.statistics)})
    if reply.groups is not None:
        records[GROUPS] = ConfigRecord({JSON_FIELD: json.dumps(reply.groups)})
    if reply.update is not None:
        records[UPDATE] = arrays_to_record(reply.update)
    return records


def reply_from_records(records: RecordDict, plan: ArrayPlan) -> Reply:
    """The reply in Flower records; no text is parsed and no array read before names and bytes fit the plan.

    Raises:
        AdmissionError: With a reason code: `keys`, `size`, `shape`, `dtype` or `malformed`.
    """
    if not records.keys() <= _REPLY:
        raise AdmissionError("keys")
    try:
        configs = records.config_records
        for record in configs.values():
            _check_text_size(record)
        update = planned_arrays(records.array_records[UPDATE], plan) if UPDATE in records else None
        return Reply(
            site=_field(configs[SITE], NAME_FIELD, str),
            round_number=_field(configs[SITE], ROUND_FIELD, int),
            run=_field(configs[SITE], RUN_FIELD, str),
            update=update,
            statistics=dict(_json(configs[STATISTICS])) if STATISTICS in records else None,
            releases=releases_of(records),
            groups=_numbers(_json(configs[GROUPS])) if GROUPS in records else None,
            ledger_head=_digest_or_none(configs[SITE].get(HEAD_FIELD)),
        )
    except AdmissionError:
        raise
    except Exception as error:  # a hostile reply finds the exception that a list of them forgets
        raise AdmissionError("malformed") from error


def _digest_or_none(value: object) -> str | None:
    """A SHA-256 in hexadecimal, or None for an empty text.

    Raises:
        ValueError: Neither.
    """
    if not value:
        return None
    if not (isinstance(value, str) and _DIGEST.fullmatch(value)):
        raise ValueError("not a digest")
    return value


def _field(record: ConfigRecord, name: str, kind: type[T]) -> T:
    """A field of exactly one type: for Python, True is a number."""
    value = record[name]
    if type(value) is not kind:
        raise AdmissionError("malformed")
    return value


def _json(record: ConfigRecord) -> Any:  # noqa: ANN401 - any JSON value
    _check_text_size(record)
    try:
        return json.loads(_field(record, JSON_FIELD, str))
    except RecursionError as error:
        raise AdmissionError("malformed") from error


def _check_text_size(record: ConfigRecord) -> None:
    """Refuse a record whose texts, bytes and lists are too long to be read.

    Raises:
        AdmissionError: With the reason `size`.
    """
    if sum(map(_length, record.values())) > MAX_STATISTICS_BYTES:
        raise AdmissionError("size")


def _length(value: object) -> int:
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str | bytes) else _NUMBER_BYTES


def _numbers(value: object) -> tuple[float, ...]:
    """A list of finite numbers.

    Raises:
        ValueError: It is none.
    """
    if type(value) is not list or not all(type(one) in (int, float) and math.isfinite(one) for one in value):
        raise ValueError("not a list of finite numbers")
    return tuple(map(float, value))


def _release(value: Mapping[str, Any]) -> Release:
    event, entry = value["event"], value["ledger_entry"]
    return Release(
        name=str(value["name"]),
        mechanism=Mechanism(value["mechanism"]),
        event=event_from_json(event) if event is not None else None,
        ledger_entry=str(entry) if entry is not None else None,
    )
