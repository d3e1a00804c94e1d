"""A question and a hospital's answer as Flower records, decoded with limits and without trust."""

from __future__ import annotations

import json
from dataclasses import asdict

from flwr.app import ConfigRecord, MessageType, RecordDict

from common.errors import AdmissionError
from common.privacy.release import Mechanism, Release
from common.search.answer import SiteAnswer
from common.search.question import MOST_BYTES
from common.trust.envelope import from_json
from common.wire.flower import JSON_FIELD, RELEASES, releases_of, releases_to_record

QUESTION_TYPE = f"{MessageType.QUERY}.search"
"""Flower's type of a message that passes a question on."""
QUESTION, FOUND = "question", "found"
SEALED_FIELD, KEY_FIELD = "sealed", "key"
MOST_ANSWER_BYTES = 2**18
"""A thousand hits of 200 bytes."""

_RELEASE = Release(name=FOUND, mechanism=Mechanism.SEARCH_ANSWER)


def question_to_records(sealed: bytes, *, key: str) -> RecordDict:
    """A sealed question as Flower records.

    Args:
        sealed: As the asking hospital sealed it.
        key: The public key by which the consortium's server knows that hospital, in hexadecimal.
    """
    return RecordDict({QUESTION: ConfigRecord({SEALED_FIELD: sealed, KEY_FIELD: key})})


def question_from_records(records: RecordDict) -> tuple[bytes, str]:
    """The sealed question in Flower records, and the key that the server says it is sealed with.

    Raises:
        AdmissionError: It is none, or too long.
    """
    try:
        fields = records.config_records[QUESTION]
        sealed, key = fields[SEALED_FIELD], fields[KEY_FIELD]
    except KeyError as error:
        raise AdmissionError("the server's message is no question of this version") from error
    if type(sealed) is not bytes or type(key) is not str or len(fields) > len((SEALED_FIELD, KEY_FIELD)):
        raise AdmissionError("the server's message is no question of this version")
    if len(sealed) > MOST_BYTES:
        raise AdmissionError("the server's question is longer than any is")
    return sealed, key


def answer_to_records(answer: SiteAnswer) -> RecordDict:
    """A hospital's answer as Flower records."""
    found = ConfigRecord({JSON_FIELD: json.dumps(asdict(answer))})
    return RecordDict({FOUND: found, RELEASES: releases_to_record((_RELEASE,))})


def answer_from_records(records: RecordDict) -> SiteAnswer:
    """A hospital's answer in Flower records.

    Raises:
        AdmissionError: With a reason code: `keys`, `size` or `malformed`.
    """
    if records.keys() != {FOUND, RELEASES} or releases_of(records) != (_RELEASE,):
        raise AdmissionError("keys")
    text = records.config_records[FOUND].get(JSON_FIELD)
    if isinstance(text, str) and len(text) > MOST_ANSWER_BYTES:
        raise AdmissionError("size")
    try:
        answer: SiteAnswer = from_json(SiteAnswer, json.loads(str(text)))
    except Exception as error:  # a hostile answer finds the exception that a list of them forgets
        raise AdmissionError("malformed") from error
    return answer
