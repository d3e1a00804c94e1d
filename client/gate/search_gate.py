"""The gate of a question: the outermost layer of what answers other hospitals' searches. Deny by default, as `gate.py`.

On the way in: the question is whole and sealed with the key that the server's log names beside its asker, and the
server vouches that it passed this question on to this site. On the way out: the reply is one record of handles and
distances, listed as such a release, which the site's policy allows (`releases.allowed`); the site's log says who asked
and what leaves, and the reply carries the proof. An error leaves as a reason code, and refusals are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from flwr.app import Error, Message, RecordDict

from client.gate.forms import OF_A_SEARCH, listed
from client.gate.gate import ERROR_CODE, RAISED
from client.gate.recorder import Recorder
from client.gate.refused_questions import RefusedQuestions
from client.policy.interface import Policy, ReleaseRequest
from common.errors import WardroundError
from common.search.answer import SiteAnswer
from common.search.question import Question, read_question
from common.trust.keys import PublicKey
from common.wire.evidence import evidence_of, released_in, with_evidence
from common.wire.searching import answer_to_records, question_from_records

_log = logging.getLogger("wardround.site")

Answers = Callable[[Question], SiteAnswer]


class SearchGate:
    """Guards what answers questions.

    Args:
        policy: The hospital's own.
        run: Digest of the run whose channel questions come by.
        recorder: Who keeps the evidence.
        refused: Who counts what is refused.
    """

    def __init__(self, policy: Policy, *, run: str, recorder: Recorder, refused: RefusedQuestions) -> None:
        self._policy = policy
        self._run = run
        self._recorder = recorder
        self._refused = refused

    def __call__(self, message: Message, answers: Answers) -> Message:
        """Answer a question through the gate, or with a reason code."""
        asker: str | None = None
        try:
            sealed, key = question_from_records(message.content)
            question = read_question(sealed, PublicKey.from_hex(key))
            asker = question.asker
            return Message(self._passed(message.content, question, key, answers), reply_to=message)
        except WardroundError as error:
            _log.error("question refused: %s", error)
            return self._refusal(message, error.reason, asker)
        except Exception:
            _log.exception("a question failed; the server is told only that this site failed")
            return self._refusal(message, RAISED, asker)

    def _passed(self, content: RecordDict, question: Question, key: str, answers: Answers) -> RecordDict:
        evidence = evidence_of(content)
        self._recorder.admit_question(evidence, question, key=key, run=self._run)
        records = answer_to_records(answers(question))
        releases = listed(records, OF_A_SEARCH)
        self._policy.enforce(ReleaseRequest(releases=tuple(releases.values()), arrays=None, least_cell=None))
        shown = self._recorder.release_answer(
            partial(released_in, records), evidence=evidence, question=question, run=self._run
        )
        return with_evidence(records, shown)

    def _refusal(self, message: Message, reason: str, asker: str | None) -> Message:
        self._refused.note(reason, run=self._run, asker=asker)
        return Message(Error(ERROR_CODE, reason), reply_to=message)
