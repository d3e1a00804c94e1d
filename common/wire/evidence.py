"""Signed evidence as one more record of a message, and the digests by which both sides' logs name what was sent.

A digest is of what a record says, not of its bytes on the way: those of Flower's messages may change with its version.

- Arrays: SHA-256 of the safetensors file of the decoded arrays, names sorted (`arrays_digest`).
- Fields: SHA-256 of the canonical JSON of the object of all fields (`common/canonical.py`).
"""

from __future__ import annotations

from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from common.canonical import digest
from common.errors import AdmissionError, EvidenceError
from common.evidence.exchange import Evidence, Released, decode
from common.files import sha256_hex
from common.wire.flower import TASK, releases_of
from common.wire.flower_arrays import arrays_from_record
from common.wire.update import arrays_digest

EVIDENCE = "evidence"
_FIELD = "json"


def with_evidence(records: RecordDict, evidence: Evidence | None) -> RecordDict:
    """The same records, and the evidence beside them; where there is none, the records themselves."""
    if evidence is None:
        return records
    return RecordDict({**records, EVIDENCE: ConfigRecord({_FIELD: evidence.encoded()})})


def evidence_of(records: RecordDict) -> Evidence | None:
    """The evidence beside a message's records; None where there is none.

    Raises:
        EvidenceError: It is too long, or not of its form.
    """
    if EVIDENCE not in records:
        return None
    record = records[EVIDENCE]
    text = record.get(_FIELD) if isinstance(record, ConfigRecord) and len(record) == 1 else None
    if not isinstance(text, str):
        raise EvidenceError("the record of evidence is not one text")
    return decode(text)


def without_evidence(records: RecordDict) -> RecordDict:
    """The records alone."""
    if EVIDENCE not in records:
        return records
    return RecordDict({name: record for name, record in records.items() if name != EVIDENCE})


def context_of(records: RecordDict) -> str:
    """What stands for a task among all that a site is ever sent, in hexadecimal: no other round has the same.

    It is the digest of the entry of the server's log that opened the round. Where nothing is signed, in a simulation,
    it is that of the task, whose pair keys are new in each process.

    Raises:
        AdmissionError: There is no task.
        EvidenceError: The evidence cannot be read, or holds other than one entry.
    """
    evidence = evidence_of(records)
    if evidence is None:
        if TASK not in records:
            raise AdmissionError("malformed")
        return record_digest(records[TASK])
    if len(evidence.entries) != 1:
        raise EvidenceError("the task does not come with the one entry that opened its round")
    return sha256_hex(evidence.entries[0].entry.as_bytes())


def record_digest(record: object) -> str:
    """Digest of what a record says, as above.

    Raises:
        AdmissionError: It is no record of arrays or fields, or holds what cannot be written as such.
    """
    if isinstance(record, ArrayRecord):
        return arrays_digest(arrays_from_record(record))
    if not isinstance(record, ConfigRecord):
        raise AdmissionError("malformed")
    try:
        return digest(dict(record))
    except (TypeError, ValueError) as error:
        raise AdmissionError("malformed") from error


def released_in(records: RecordDict) -> tuple[Released, ...]:
    """What a reply's own list says was released, with the digests of what is there.

    Raises:
        AdmissionError: The list is malformed, or names what is not there.
    """
    releases = releases_of(records)
    if any(release.name not in records for release in releases):
        raise AdmissionError("malformed")
    return tuple(
        Released(
            release=release.name,
            mechanism=str(release.mechanism),
            ledger_entry=release.ledger_entry,
            content=record_digest(records[release.name]),
        )
        for release in releases
    )
