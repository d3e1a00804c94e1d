"""The server's side of the evidence: what it notes in its log, what it shows the sites, and what it asks them to show.

A deployment runs with a `ServerRecorder`, a simulation with `NoRecorder`, which has no log:

    ServerRecorder(log, members={site: PublicKey}, config=RunConfig, folder=RUN, key=SigningKey, privacy=PlanOf)

Order of a run: `run_opened`; for each node that comes `greeting` and `receive`; for each round `round_opened`, then for
each site `evidence_for` and `receive`, then `update_admitted` or `update_dropped`; for each checkpoint `checkpoint`
before the state file takes its place and `committed` after it; last, once the report is written, `closed`.

What a site holds of this log is known from what it last said, and may be any head that it was sent since: a reply can
get lost. Evidence therefore extends each of them, `MOST_OFFERED` at most: a site that answered none of so many messages
is asked what it holds when it is next met.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from common.config.load import config_as_yaml, config_digest
from common.config.schema import RunConfig
from common.errors import AdmissionError, EvidenceError
from common.evidence.audit_log import AuditLog
from common.evidence.exchange import (
    MOST_EXTENSIONS,
    Evidence,
    Released,
    check_releases,
    extension_from,
    proven_entries,
)
from common.evidence.log_entries import Kind, is_word
from common.evidence.log_trail import Counterpart
from common.files import sha256_hex
from common.privacy.plan import PlanOf
from common.search.question import Question
from common.trust.keys import PublicKey, SigningKey
from common.wire.flower import UPDATE
from common.wire.update import NamedArrays, arrays_digest
from server.checkpoint import RunState
from server.signed_folder import SignedFolder

MOST_OFFERED = MOST_EXTENSIONS - 1
GREETING_ROUND = 0
"""Round of what a site releases before it is asked for any."""


class Recorder(Protocol):
    """What the federation and its transport tell, and ask of, whoever keeps the evidence."""

    def run_opened(self) -> None:
        """The run begins, or goes on in a new process."""
        ...

    def greeting(self, site: str | None) -> Evidence | None:
        """What goes beside the question who a node is; None for nothing.

        Args:
            site: The name that the node is registered under; None where nobody knows.
        """
        ...

    def round_opened(self, round_number: int, sites: Sequence[str], model: NamedArrays) -> None:
        """Sites are about to be asked."""
        ...

    def question_passed(self, question: Question, *, public_key: str, sites: Sequence[str]) -> None:
        """A hospital's question is about to be passed on.

        Args:
            question: What is asked.
            public_key: The key that the hospital sealed it with, in hexadecimal.
            sites: Who is asked.
        """
        ...

    def evidence_for(self, site: str) -> Evidence | None:
        """What goes beside a site's task, or a question; None for nothing."""
        ...

    def receive(
        self,
        site: str,
        evidence: Evidence | None,
        released: Callable[[], tuple[Released, ...]],
        *,
        round_number: int,
    ) -> None:
        """Check what came beside a site's reply, and note the site's head.

        Args:
            site: Who was asked.
            evidence: What came.
            released: What the reply holds.
            round_number: Round that was asked for; `GREETING_ROUND` for the answer who the site is.

        Raises:
            AdmissionError: There is evidence where none was asked for.
            EvidenceError: There is none, or it does not hold.
            TrustError: The server's own log cannot be written.
        """
        ...

    def update_admitted(self, round_number: int, site: str) -> None:
        """A site's update counts."""
        ...

    def update_dropped(self, round_number: int, site: str, reason: str) -> None:
        """A site's reply does not count, or did not come."""
        ...

    def checkpoint(self, state: RunState, path: Path) -> None:
        """A state is written, whole, beside the place that it is about to take."""
        ...

    def committed(self, state: RunState) -> None:
        """The state has taken its place."""
        ...

    def closed(self, state: RunState, *, status: str, files: Sequence[Path]) -> None:
        """The run has ended, and what people read of it is written.

        Args:
            state: The last one.
            status: One word.
            files: What is vouched for beside the state file, in the run folder.
        """
        ...


class NoRecorder:
    """Of a simulation: nothing is signed, and nothing asked for."""

    def run_opened(self) -> None:
        """See `Recorder`."""

    def greeting(self, site: str | None) -> None:
        """See `Recorder`."""

    def round_opened(self, round_number: int, sites: Sequence[str], model: NamedArrays) -> None:
        """See `Recorder`."""

    def question_passed(self, question: Question, *, public_key: str, sites: Sequence[str]) -> None:
        """See `Recorder`."""

    def evidence_for(self, site: str) -> None:
        """See `Recorder`."""

    def receive(
        self,
        site: str,  # noqa: ARG002 - of `Recorder`
        evidence: Evidence | None,
        released: Callable[[], tuple[Released, ...]],  # noqa: ARG002 - of `Recorder`
        *,
        round_number: int,  # noqa: ARG002 - of `Recorder`
    ) -> None:
        """See `Recorder`."""
        if evidence is not None:
            raise AdmissionError("keys")

    def update_admitted(self, round_number: int, site: str) -> None:
        """See `Recorder`."""

    def update_dropped(self, round_number: int, site: str, reason: str) -> None:
        """See `Recorder`."""

    def checkpoint(self, state: RunState, path: Path) -> None:
        """See `Recorder`."""

    def committed(self, state: RunState) -> None:
        """See `Recorder`."""

    def closed(self, state: RunState, *, status: str, files: Sequence[Path]) -> None:
        """See `Recorder`."""


@dataclass
class _Offers:
    """Sizes of the heads of this log that one site may hold."""

    acknowledged: int
    since: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_OFFERED))

    @property
    def sizes(self) -> list[int]:
        return sorted({self.acknowledged, *self.since})


class ServerRecorder:
    """Keeps the evidence of one run.

    Args:
        log: The server's audit log, open; it may hold other runs.
        members: Key of each site that may take part, by name.
        config: The run's configuration.
        folder: Run folder; it receives the manifest, and copies of the log.
        key: The server's, which signs log and manifest.
        privacy: What a round costs a site with a band of patients.
    """

    def __init__(
        self,
        log: AuditLog,
        *,
        members: Mapping[str, PublicKey],
        config: RunConfig,
        folder: Path,
        key: SigningKey,
        privacy: PlanOf,
    ) -> None:
        self._log = log
        self._members = members
        self._run = config_digest(config)
        self._config_file = sha256_hex(config_as_yaml(config).encode())
        self._folder = SignedFolder(folder, log=log, run=self._run, key=key, privacy=privacy)
        self._offers: dict[str, _Offers] = {}
        self._opened: int | None = None
        self._updates: dict[str, str] = {}

    def run_opened(self) -> None:
        """See `Recorder`."""
        self._log.append(Kind.RUN_OPENED, content=self._config_file, run=self._run)

    def greeting(self, site: str | None) -> Evidence:
        """See `Recorder`."""
        if site is None or site not in self._members:
            return Evidence(held=0)
        return self._log.show(self._counterpart(site))

    def round_opened(self, round_number: int, sites: Sequence[str], model: NamedArrays) -> None:
        """See `Recorder`."""
        self._updates.clear()
        head = self._log.append(
            Kind.ROUND_OPENED, content=arrays_digest(model), run=self._run, round=round_number, sites=list(sites)
        )
        self._opened = head.content.size

    def question_passed(self, question: Question, *, public_key: str, sites: Sequence[str]) -> None:
        """See `Recorder`."""
        head = self._log.append(
            Kind.QUESTION_PASSED,
            content=question.digest,
            run=self._run,
            asker=question.asker,
            public_key=public_key,
            sites=list(sites),
        )
        self._opened = head.content.size

    def evidence_for(self, site: str) -> Evidence:
        """See `Recorder`; the site was met, and a round is open or a question passed on."""
        offers = self._offers[site]
        entries = () if self._opened is None else (self._opened,)
        evidence = self._log.show(self._counterpart(site), known=offers.sizes, entries=entries)
        offers.since.append(evidence.extensions[0].head.content.size)
        return evidence

    def receive(
        self,
        site: str,
        evidence: Evidence | None,
        released: Callable[[], tuple[Released, ...]],
        *,
        round_number: int,
    ) -> None:
        """See `Recorder`."""
        counterpart = self._counterpart(site)
        if evidence is None:
            raise EvidenceError(f"{site}: the reply comes without evidence")
        if evidence.held > len(self._log.trail):
            raise EvidenceError(f"{site}: holds more of this server's log than there is: an older copy is in its place")
        held = self._log.trail.held(counterpart)
        extension = extension_from(evidence, held=held, key=counterpart.public_key)
        self._log.receive(extension, counterpart=counterpart)
        self._offers[site] = _Offers(evidence.held)
        found = released()
        entries = proven_entries(evidence, extension.head)
        check_releases(entries, found, run=self._run, round_number=round_number)
        self._updates.update((site, record.content) for record in found if record.release == UPDATE)

    def _counterpart(self, site: str) -> Counterpart:
        try:
            return Counterpart(site, self._members[site])
        except KeyError as error:
            raise EvidenceError(f"{site}: no member of this name has a key; admit it with wardround server") from error

    def update_admitted(self, round_number: int, site: str) -> None:
        """See `Recorder`."""
        self._log.append(
            Kind.UPDATE_ADMITTED, content=self._updates[site], run=self._run, round=round_number, site=site
        )

    def update_dropped(self, round_number: int, site: str, reason: str) -> None:
        """See `Recorder`."""
        word = reason if is_word(reason) else "other"
        self._log.append(Kind.UPDATE_DROPPED, run=self._run, round=round_number, site=site, reason=word)

    def checkpoint(self, state: RunState, path: Path) -> None:
        """See `Recorder`."""
        self._folder.vouch(state, path)

    def committed(self, state: RunState) -> None:
        """See `Recorder`."""
        self._folder.sign(state)

    def closed(self, state: RunState, *, status: str, files: Sequence[Path]) -> None:
        """See `Recorder`.

        Raises:
            CheckpointError: A file cannot be read, or the manifest not be written.
            TrustError: The log cannot be written.
        """
        self._folder.close(state, status=status if is_word(status) else "other", files=files)
