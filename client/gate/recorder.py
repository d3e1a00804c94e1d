"""The site's side of the evidence: what it asks the server to show, what it notes in its log, and what it shows itself.

A deployment runs with a `SiteRecorder`, a simulation with `NoRecorder`, which has no log:

    SiteRecorder(log, site=NAME, server=Counterpart(NAME, PublicKey))

The gate asks it first and last: `admit` before the policy hears of a task, `release` after the policy has let the reply
through, and `refused` where anything refused in between.

A task is admitted only if

1. the server's log extends what is held of it here (`evidence`), and its head is newer than any that was seen
   (`replayed`);
2. the log opened this round of this run for this site, with the model that came (`evidence`);
3. the round is not before the last one that this site answered in the run (`stale`). The same round again is allowed:
   a server that was killed asks for the round in flight once more.

A question of another hospital is admitted by the first two alike: the log passed this question on to this site, in the
name of who asks. The server's head is noted when the question is answered: of one that is refused nothing left, and a
head for each would let whoever asks fill the log.

What a site has answered stands in its log, so there is no second memory of it that could be lost or put back alone.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Protocol

from common.canonical import digest
from common.config.load import config_as_yaml
from common.config.schema import RunConfig
from common.errors import EvidenceError, StaleError
from common.evidence.audit_log import AuditLog
from common.evidence.exchange import (
    Evidence,
    Released,
    check_question_passed,
    check_round_opened,
    newer_extension,
    proven_entries,
)
from common.evidence.log_entries import Kind, LogEntry, Value, is_word
from common.evidence.log_heads import Extension
from common.evidence.log_trail import Counterpart
from common.files import sha256_hex
from common.search.question import Question
from common.wire.flower import Task

NO_ROUND = 0
"""Round of what a site releases outside of all rounds."""

_MOST_ROUNDS = 2**53 - 1
_COMPLETED = "completed"


class Recorder(Protocol):
    """Who keeps the evidence of one site."""

    def admit(self, evidence: Evidence | None, task: Task | None, model: Callable[[], str]) -> None:
        """Check what came with a message.

        Args:
            evidence: What the server shows.
            task: What it asks for; None where it only asks who this is.
            model: Digest of the model that came.

        Raises:
            EvidenceError: With a reason code of its own: `evidence`, `replayed` or `stale`.
            TrustError: The log cannot be written.
        """
        ...

    def release(
        self,
        released: Callable[[], tuple[Released, ...]],
        *,
        evidence: Evidence | None,
        task: Task | None,
        config: RunConfig,
        run: str,
    ) -> Evidence | None:
        """Note what is about to leave; what goes beside it, None for nothing.

        Args:
            released: The records of the reply.
            evidence: What came with the message.
            task: What was asked for.
            config: The run's configuration.
            run: Its digest.

        Raises:
            TrustError: The log cannot be written; nothing may leave.
        """
        ...

    def admit_question(self, evidence: Evidence | None, question: Question, *, key: str, run: str) -> None:
        """Check what came with a question of another hospital.

        Args:
            evidence: What the server shows.
            question: What is asked.
            key: The public key that it is sealed with, in hexadecimal.
            run: Digest of the run whose channel it came by.

        Raises:
            EvidenceError: With a reason code of its own: `evidence` or `replayed`.
            TrustError: The log cannot be written.
        """
        ...

    def release_answer(
        self,
        released: Callable[[], tuple[Released, ...]],
        *,
        evidence: Evidence | None,
        question: Question,
        run: str,
    ) -> Evidence | None:
        """Note who asked, and what is about to leave; what goes beside it, None for nothing.

        Raises:
            TrustError: The log cannot be written; nothing may leave.
        """
        ...

    def refused(self, reason: str, *, run: str, round_number: int) -> None:
        """Note that a message was refused.

        Raises:
            TrustError: The log cannot be written.
        """
        ...

    def questions_refused(self, reason: str, *, run: str, asker: str | None, since: str, times: int) -> None:
        """Note how many more questions were refused in an hour after the first, once however often it is called.

        Args:
            reason: Why.
            run: Digest of the run whose channel they came by.
            asker: Who is said to have asked; None for those that are not told apart.
            since: When the first was refused (ISO 8601, UTC).
            times: How many came after it.

        Raises:
            TrustError: The log cannot be written.
        """
        ...


class NoRecorder:
    """Of a simulation: nothing is signed, and nothing asked for."""

    def admit(self, evidence: Evidence | None, task: Task | None, model: Callable[[], str]) -> None:
        """See `Recorder`."""

    def release(
        self,
        released: Callable[[], tuple[Released, ...]],
        *,
        evidence: Evidence | None,
        task: Task | None,
        config: RunConfig,
        run: str,
    ) -> None:
        """See `Recorder`."""

    def admit_question(self, evidence: Evidence | None, question: Question, *, key: str, run: str) -> None:
        """See `Recorder`."""

    def release_answer(
        self,
        released: Callable[[], tuple[Released, ...]],
        *,
        evidence: Evidence | None,
        question: Question,
        run: str,
    ) -> None:
        """See `Recorder`."""

    def refused(self, reason: str, *, run: str, round_number: int) -> None:
        """See `Recorder`."""

    def questions_refused(self, reason: str, *, run: str, asker: str | None, since: str, times: int) -> None:
        """See `Recorder`."""


class SiteRecorder:
    """Keeps the evidence of one site; threads may share it.

    Args:
        log: The site's audit log, open; it holds all runs.
        site: The site's name in the consortium.
        server: The server's name and key.
    """

    def __init__(self, log: AuditLog, *, site: str, server: Counterpart) -> None:
        self._log = log
        self._site = site
        self._server = server
        self._lock = Lock()

    def admit(self, evidence: Evidence | None, task: Task | None, model: Callable[[], str]) -> None:
        """See `Recorder`."""
        shown = self._shown(evidence)
        if task is not None:
            with self._lock:
                self._admit_task(shown, task, model)

    def _shown(self, evidence: Evidence | None) -> Evidence:
        """The evidence, where the server does not hold more of this site's log than there is.

        Raises:
            EvidenceError: It does, or there is none.
        """
        if evidence is None:
            raise EvidenceError("the message comes without evidence")
        if evidence.held > len(self._log.trail):
            raise EvidenceError(
                f"the server holds {evidence.held} entries of this site's log, which has {len(self._log.trail)}: "
                "restore the newest copy, or have the site admitted anew with a new key"
            )
        return evidence

    def _newly_proven(self, evidence: Evidence) -> tuple[LogEntry, ...]:
        """The entries that come with a message, and the server's head noted: it vouched for whatever comes."""
        extension = self._newer(evidence)
        self._log.receive(extension, counterpart=self._server)
        return proven_entries(evidence, extension.head)

    def _newer(self, evidence: Evidence) -> Extension:
        """What leads from the server's head that is held here to a newer one; nothing is noted."""
        return newer_extension(evidence, held=self._log.trail.held(self._server), key=self._server.public_key)

    def admit_question(self, evidence: Evidence | None, question: Question, *, key: str, run: str) -> None:
        """See `Recorder`."""
        shown = self._shown(evidence)
        with self._lock:
            check_question_passed(
                proven_entries(shown, self._newer(shown).head),
                run=run,
                question=question.digest,
                asker=question.asker,
                public_key=key,
                site=self._site,
            )

    def _admit_task(self, evidence: Evidence, task: Task, model: Callable[[], str]) -> None:
        check_round_opened(
            self._newly_proven(evidence),
            run=task.config_digest,
            round_number=task.round_number,
            site=self._site,
            model=model(),
        )
        last = self._last_round(task.config_digest)
        if task.round_number < last:
            raise StaleError(f"round {task.round_number} is asked for, and round {last} was answered")

    def _last_round(self, run: str) -> int:
        """The last round of a run that something was released for; 0 for none."""
        rounds = (
            entry.fields["round"]
            for entry in reversed(self._log.trail)
            if entry.kind is Kind.RELEASE and entry.fields["run"] == run
        )
        return next((number for number in rounds if isinstance(number, int) and number > 0), 0)

    def release(
        self,
        released: Callable[[], tuple[Released, ...]],
        *,
        evidence: Evidence | None,
        task: Task | None,
        config: RunConfig,
        run: str,
    ) -> Evidence:
        """See `Recorder`."""
        if evidence is None:
            raise EvidenceError("the message came without evidence")
        found = released()
        with self._lock:
            self._open(config, run)
            round_number = task.round_number if task is not None else NO_ROUND
            entries = [self._note(record, run=run, round_number=round_number) for record in found]
            if task is not None and not task.train:
                content = digest({record.release: record.content for record in found})
                rounds = max(round_number - 1, 0)
                self._log.append(Kind.RUN_CLOSED, content=content, run=run, rounds=rounds, status=_COMPLETED)
            return self._log.show(self._server, known=(evidence.held,), entries=entries)

    def release_answer(
        self,
        released: Callable[[], tuple[Released, ...]],
        *,
        evidence: Evidence | None,
        question: Question,
        run: str,
    ) -> Evidence:
        """See `Recorder`."""
        shown, found = self._shown(evidence), released()
        with self._lock:
            self._newly_proven(shown)
            self._log.append(Kind.QUESTION_ANSWERED, content=question.digest, run=run, asker=question.asker)
            entries = [self._note(record, run=run, round_number=NO_ROUND) for record in found]
            return self._log.show(self._server, known=(shown.held,), entries=entries)

    def _open(self, config: RunConfig, run: str) -> None:
        """Note that the run begins, or goes on after its end."""
        kinds = (
            entry.kind
            for entry in reversed(self._log.trail)
            if entry.kind in (Kind.RUN_OPENED, Kind.RUN_CLOSED) and entry.fields["run"] == run
        )
        if next(kinds, Kind.RUN_CLOSED) is Kind.RUN_CLOSED:
            self._log.append(Kind.RUN_OPENED, content=sha256_hex(config_as_yaml(config).encode()), run=run)

    def _note(self, record: Released, *, run: str, round_number: int) -> int:
        head = self._log.append(
            Kind.RELEASE,
            content=record.content,
            run=run,
            round=round_number,
            release=record.release,
            mechanism=record.mechanism,
            ledger_entry=record.ledger_entry,
        )
        return head.content.size

    def refused(self, reason: str, *, run: str, round_number: int) -> None:
        """See `Recorder`."""
        self._log.append(Kind.REFUSAL, run=run, round=min(max(round_number, 0), _MOST_ROUNDS), reason=_word(reason))

    def questions_refused(self, reason: str, *, run: str, asker: str | None, since: str, times: int) -> None:
        """See `Recorder`."""
        said: dict[str, Value] = {"run": run, "reason": _word(reason), "asker": asker, "since": since, "times": times}
        if not any(entry.kind is Kind.QUESTIONS_REFUSED and dict(entry.fields) == said for entry in self._log.trail):
            self._log.append(Kind.QUESTIONS_REFUSED, content=None, **said)


def _word(reason: str) -> str:
    """A reason as the log can hold it."""
    return reason if is_word(reason) else "other"
