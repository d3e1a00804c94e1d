"""A question is answered only where the server's log passed on this one, from this asker, to this hospital, once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto

from client.gate import search_gate
from client.gate.recorder import SiteRecorder
from client.gate.refused_questions import opened_refusals
from client.gate.search_gate import Answers, SearchGate
from client.policy.interface import Policy
from client.policy.release_rules import AllowedMechanisms
from common.errors import PolicyRefusal
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.privacy.release import Mechanism
from common.search.answer import Hit, SiteAnswer
from common.search.question import Question, new_question
from common.trust.keys import SigningKey
from common.wire.evidence import with_evidence
from common.wire.searching import FOUND, QUESTION_TYPE, answer_from_records, answer_to_records, question_to_records
from tests.common.evidence.logs import CONTENT, RUN, Side

pytestmark = pytest.mark.usefixtures("flower_runtime")

ASKER = SigningKey.fresh()
ALLOWED = Policy(run_rules=(), release_rules=(AllowedMechanisms({FOUND: frozenset({Mechanism.SEARCH_ANSWER})}),))
PATIENT = "patient Huber"


def question() -> Question:
    return new_question(np.zeros(16, np.uint8), asker="riverside", model="a" * 64, gallery="images", most=3)


def found(asked: Question) -> SiteAnswer:
    return SiteAnswer(question=asked.digest, hits=(Hit(handle="h" * 24, distance=8),), cut=False)


@dataclass
class Both:
    """The server's log, and a hospital's gate with a log of its own."""

    server: AuditLog
    site: AuditLog
    policy: Policy = ALLOWED

    def passed_on(self, asked: Question, **changes: object) -> Message:
        """The question as the server sends it; what its log says of it may be changed."""
        fields = {
            "content": asked.digest,
            "run": RUN,
            "asker": asked.asker,
            "public_key": ASKER.public.hex,
            "sites": ["north"],
        }
        head = self.server.append(Kind.QUESTION_PASSED, **{**fields, **changes})  # type: ignore[arg-type]
        evidence = self.server.show(self.site.trail.owner, known=(self.known,), entries=(head.content.size,))
        records = question_to_records(asked.sealed(ASKER), key=ASKER.public.hex)
        return Message(with_evidence(records, evidence), 1, QUESTION_TYPE, ttl=60)

    @property
    def known(self) -> int:
        """How much of the server's log the hospital holds."""
        held = self.site.trail.held(self.server.trail.owner)
        return held.content.size if held else 0

    def answer(self, message: Message, answers: Answers = found) -> Message:
        """What leaves the hospital; what it refused is counted anew each time, so that each refusal is an entry."""
        recorder = SiteRecorder(self.site, site="north", server=self.server.trail.owner)
        with tempfile.TemporaryDirectory() as state, opened_refusals(Path(state), recorder) as refused:
            return SearchGate(self.policy, run=RUN, recorder=recorder, refused=refused)(message, answers)

    def kinds(self) -> list[Kind]:
        """What the hospital's log says, heads left out."""
        return [entry.kind for entry in self.site.trail if entry.kind not in (Kind.LOG_OPENED, Kind.HEAD_RECEIVED)]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    server, site = Side.create(tmp_path, "server"), Side.create(tmp_path, "north")
    with server.open() as centre, site.open() as hospital:
        yield Both(centre, hospital)


def test_answer_leaves_with_proof_of_who_asked(both: Both) -> None:
    asked = question()
    reply = both.answer(both.passed_on(asked))
    assert answer_from_records(RecordDict({k: v for k, v in reply.content.items() if k != "evidence"})) == found(asked)
    assert both.kinds() == [Kind.QUESTION_ANSWERED, Kind.RELEASE]
    answered, released = [entry for entry in both.site.trail if entry.kind in both.kinds()]
    assert (answered.fields["asker"], answered.content) == ("riverside", asked.digest)
    assert released.fields["mechanism"] == "search_answer"


@pytest.mark.parametrize(
    "change",
    [
        {"content": CONTENT},
        {"asker": "westgate"},
        {"public_key": SigningKey.fresh().public.hex},
        {"sites": ["south"]},
        {"run": "ef" * 32},
    ],
)
def test_question_that_the_servers_log_passed_on_otherwise_is_refused(both: Both, change: dict[str, object]) -> None:
    reply = both.answer(both.passed_on(question(), **change))
    assert reply.has_error()
    assert reply.error.reason == "evidence"
    assert both.kinds() == [Kind.REFUSAL]


def test_message_that_was_sent_before_is_refused(both: Both) -> None:
    message = both.passed_on(question())
    assert not both.answer(message).has_error()
    assert both.answer(message).error.reason == "replayed"


def test_question_without_evidence_or_sealed_with_another_key_is_refused(both: Both) -> None:
    asked = question()
    bare = question_to_records(asked.sealed(ASKER), key=ASKER.public.hex)
    assert both.answer(Message(bare, 1, QUESTION_TYPE, ttl=60)).error.reason == "evidence"
    forged = both.passed_on(asked)
    forged.content["question"] = ConfigRecord({"sealed": asked.sealed(SigningKey.fresh()), "key": ASKER.public.hex})
    assert both.answer(forged).error.reason == "trust"


def test_hospital_that_lets_no_answers_out_sends_none(both: Both) -> None:
    both.policy = replace(ALLOWED, release_rules=(AllowedMechanisms({}),))
    reply = both.answer(both.passed_on(question()))
    assert reply.error.reason == "policy"
    assert both.kinds() == [Kind.REFUSAL]


def test_record_beside_the_answer_does_not_leave(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_more(answer: SiteAnswer) -> RecordDict:
        return RecordDict({**answer_to_records(answer), "report": ConfigRecord({"text": PATIENT})})

    monkeypatch.setattr(search_gate, "answer_to_records", with_more)
    reply = both.answer(both.passed_on(question()))
    assert reply.error.reason == "policy"
    assert PATIENT.encode() not in message_to_proto(reply).SerializeToString()


@pytest.mark.parametrize(("error", "reason"), [(PolicyRefusal(PATIENT), "policy"), (ValueError(PATIENT), "raised")])
def test_text_of_an_error_stays(both: Both, error: Exception, reason: str) -> None:
    def fails(_: Question) -> SiteAnswer:
        raise error

    reply = both.answer(both.passed_on(question()), fails)
    assert reply.error.reason == reason
    assert PATIENT.encode() not in message_to_proto(reply).SerializeToString()
