"""What a hospital's worker answers a question of another hospital with: its index, through the gate.

A question comes by the channel of a run that the hospital approved; where the approval was taken back, so is the
answer. No model and no study is opened for it. A hospital without an index answers nothing and stays as it is.
"""

from __future__ import annotations

import logging

from flwr.app import Message

from client.deploy.approval import Approvals
from client.deploy.message_bytes import error_reply
from client.gate.recorder import Recorder
from client.gate.refused_questions import opened_refusals
from client.gate.search_gate import SearchGate
from client.policy.site_policy import policy_of
from client.policy.site_schema import SiteConfig
from client.search.book import opened_book
from client.search.desk import Desk
from client.search.generation import search_folder
from client.search.index import SearchIndex
from client.search.told_handles import open_handles
from common.errors import AdmissionError, WardroundError
from common.search.answer import SiteAnswer
from common.search.question import Question
from common.trust.keys import PublicKey

_log = logging.getLogger("wardround.site")


class QuestionWorker:
    """Answers questions; from one thread, one at a time.

    Args:
        config: The hospital's own configuration.
        approvals: What it approved.
        recorder: Who keeps the evidence.
        key: The hospital's, which its index is signed with.
    """

    def __init__(self, config: SiteConfig, approvals: Approvals, recorder: Recorder, *, key: PublicKey) -> None:
        self._config = config
        self._approvals = approvals
        self._recorder = recorder
        self._key = key
        self._policy = policy_of(config)
        self._opened: SearchIndex | None = None

    def answer(self, bundle_hash: str, message: Message) -> Message:
        """The reply to a question that came by the channel of a bundle's run."""
        try:
            run = self._approvals.of(bundle_hash).run
            _check_content(message)
            with opened_refusals(self._config.state_folder, self._recorder) as refused:
                refused.write_what_is_over()
                gate = SearchGate(self._policy, run=run, recorder=self._recorder, refused=refused)
                return gate(message, self._found)
        except WardroundError as error:
            _log.error("question refused: %s", error)
            return error_reply(message, error.reason)

    def _found(self, question: Question) -> SiteAnswer:
        limits, state = self._config.search, self._config.state_folder
        with opened_book(state) as book:
            handles = open_handles(state, days=limits.handle_days)
            return Desk(self._index, self._policy, limits, book, handles).answer(question)

    def _index(self) -> SearchIndex:
        """The index as it is now; it stays open until another generation takes its place.

        Raises:
            ConfigError: There is none.
            TrustError: It does not hold.
        """
        if self._opened is None or not self._opened.is_current:
            self._opened = SearchIndex.open_as_made(search_folder(self._config), key=self._key)
        return self._opened


def _check_content(message: Message) -> None:
    if not message.has_content():
        raise AdmissionError("the question holds no content")
