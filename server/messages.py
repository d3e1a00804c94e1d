"""Messages to nodes over a Flower grid, and what their replies hold: records and evidence, or why there are none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import AdmissionError, EvidenceError
from common.evidence.exchange import Evidence
from common.wire.evidence import evidence_of, released_in, without_evidence
from server.recorder import Recorder
from server.transport import LOST, OFFLINE

Key = TypeVar("Key", int, str)

LONGEST_REASON = 32
LOST_CODES = frozenset({3, 4, 5})
"""Codes of the error replies that Flower's server writes in the place of a node, and that name no reason of ours."""

_LOGGER = logging.getLogger("wardround.server")


def pushed(grid: Grid, messages: Mapping[Key, Message]) -> dict[str, Key]:
    """Send messages; what each is for, by the name under which its reply comes.

    Flower gives no name to a message whose node is gone.
    """
    names = grid.push_messages(list(messages.values())) if messages else ()
    return {name: key for name, key in zip(names, messages, strict=True) if name}


def opened(message: Message) -> tuple[RecordDict, Evidence | None]:
    """The records of a reply, and the evidence that came with them.

    Raises:
        AdmissionError: It is an error reply, with the site's reason code where it gives one, or its evidence cannot be
            read.
    """
    records = _content(message)
    try:
        evidence = evidence_of(records)
    except EvidenceError as error:
        raise AdmissionError(EvidenceError.reason) from error
    return without_evidence(records), evidence


def keep_evidence(
    recorder: Recorder, site: str, evidence: Evidence | None, records: RecordDict, *, round_number: int
) -> None:
    """Hold a site's evidence against the records that it came with, and keep it.

    Raises:
        AdmissionError: It does not hold.
    """
    try:
        recorder.receive(site, evidence, partial(released_in, records), round_number=round_number)
    except EvidenceError as error:
        _LOGGER.warning("%s: round %d: evidence refused: %s", site, round_number, error)
        raise AdmissionError(EvidenceError.reason) from error


def _content(message: Message) -> RecordDict:
    if not message.has_error():
        return message.content
    if message.error.code in LOST_CODES:
        raise AdmissionError(LOST)
    reason = message.error.reason or "raised"
    is_code = reason.isidentifier() and len(reason) <= LONGEST_REASON and reason != OFFLINE
    raise AdmissionError(reason if is_code else "raised")
