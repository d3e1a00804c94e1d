"""What a hospital's worker answers a message with: the run of an approved bundle, opened once and kept warm.

A message names a bundle by its hash. In this order, before anything of the bundle or the studies is read:

1. It asks who this is, or for a task, or what another hospital searches for (`client/deploy/searching.py`); a site
   answers no other kind.
2. The bundle has an approval of this site that holds now: it is read again for every message, so that one that was
   withdrawn ends with the next.

Then, once for each bundle: the bundle's file is what was approved, the studies are prepared for it, the public ones
here are those it was made with, and the hospital's own can be used. They are cut as the hospital always cuts them,
never by the run's seed. The model that trains is the bundle's own; nothing is fitted here. Where anything else of the
run must hold is for the gate. Until the studies are prepared, which is done between messages, a message is answered
with how far that is.

An error becomes a reply with its reason code; its text stays in the site's log.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from flwr.app import Context, Message, RecordDict

from client.app import build_client_app
from client.deploy.approval import Approval, Approvals
from client.deploy.held_ledger import LedgerHolder
from client.deploy.identity import read_identity
from client.deploy.message_bytes import error_reply
from client.deploy.preparer import NotReady, Preparer
from client.deploy.searching import QuestionWorker
from client.deploy.site_in_run import RandomnessOf, open_site, system_randomness
from client.gate.gate import Guard
from client.gate.recorder import Recorder, SiteRecorder
from client.ledger.ledger import Ledger
from client.ledger.lost import check_has_log
from client.policy.site_config import load_site_config
from client.policy.site_policy import policy_of
from client.policy.site_schema import SiteConfig
from client.site import Site
from client.state_folder import KEY_FILE, LOG_FOLDER
from common.code_digest import code_digest
from common.device import check_device
from common.errors import AdmissionError, ConfigError, DataError, PolicyRefusal, WardroundError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.evidence.log_trail import Counterpart
from common.trust.keys import SigningKey
from common.wire.searching import QUESTION_TYPE

RecorderOf = Callable[[SiteConfig, AuditLog], Recorder]

ANSWERED = frozenset({"query", "train"})
"""Kinds of messages that a site answers: who it is, and what a round makes of it."""
MOST_OPEN = 2
"""Runs that are kept warm: one that ends, and the next."""
BEFORE_ANY_ROUND = 0

_log = logging.getLogger("wardround.site")


def member_recorder(config: SiteConfig, log: AuditLog) -> Recorder:
    """The recorder of a hospital that has joined a consortium, which believes the server that it joined with.

    Raises:
        ConfigError: It has not joined, or under another name.
        TrustError: Its folder does not hold.
    """
    identity = read_identity(config.state_folder, now=datetime.now(UTC))
    if identity.name != config.site:
        raise ConfigError(
            f"site={config.site}: the consortium knows this hospital as {identity.name}; correct site.yaml"
        )
    server = Counterpart(identity.consortium.name, identity.consortium.public_key)
    return SiteRecorder(log, site=config.site, server=server)


@contextmanager
def open_worker(
    config_file: Path, *, randomness: RandomnessOf = system_randomness, recorder_of: RecorderOf = member_recorder
) -> Iterator[LocalWorker]:
    """Open a hospital's log, and lend what answers its messages; from one thread, one at a time.

    The ledger is opened with the first message that needs it, and looked at anew with each until it can be: a hospital
    whose ledger is gone stays connected, says so, and answers nothing that costs privacy.

    Args:
        config_file: The hospital's site.yaml.
        randomness: Source of private sampling and noise; another is for tests only, it takes the privacy away.
        recorder_of: Who keeps the evidence in the log.

    Raises:
        ConfigError: The site.yaml does not hold, or the hospital has not joined under its name.
        TrustError: A key, the admission or the log does not hold or is gone, or another worker has it open.
    """
    config = load_site_config(config_file)
    state = config.state_folder
    check_has_log(state)
    key = SigningKey.load(state / KEY_FILE)
    with (
        AuditLog(state / LOG_FOLDER, owner=config.site, key=key) as log,
        closing(LedgerHolder(config, key, log)) as ledger,
    ):
        yield LocalWorker(
            config,
            Approvals(state, site=config.site, key=key),
            ledger,
            log,
            recorder=recorder_of(config, log),
            randomness=randomness,
            key=key,
        )


class LocalWorker:
    """Answers messages with the runs that a hospital approved.

    Args:
        config: The hospital's own configuration.
        approvals: What it approved.
        ledger: Its ledger.
        log: Its audit log.
        recorder: Who keeps the evidence in it.
        randomness: Source of private sampling and noise.
        key: Its key.
    """

    def __init__(
        self,
        config: SiteConfig,
        approvals: Approvals,
        ledger: LedgerHolder,
        log: AuditLog,
        *,
        recorder: Recorder,
        randomness: RandomnessOf,
        key: SigningKey,
    ) -> None:
        self._config = config
        self._key = key
        self._approvals = approvals
        self._ledger = ledger
        self._audit = log
        self._recorder = recorder
        self._randomness = randomness
        self._preparer = Preparer(config, approvals, wanted=self._approvals_to_come)
        self._open: OrderedDict[str, OpenRun] = OrderedDict()
        self._questions = QuestionWorker(config, approvals, recorder, key=key.public)

    def work(self) -> bool:
        """Prepare a few studies of what was approved, where some are not; whether there is more to do at once."""
        return self._preparer.work()

    def answer(self, bundle_hash: str, message: Message) -> Message:
        """The reply to a message of a bundle."""
        if message.metadata.message_type == QUESTION_TYPE:
            return self._questions.answer(bundle_hash, message)
        try:
            run = self._run_of(bundle_hash, message)
        except NotReady as error:
            _log.info("not ready: %s", error)
            return error_reply(message, error.reason)
        except WardroundError as error:
            _log.error("refused: %s", error)
            self._note_refusal(bundle_hash, error.reason)
            return error_reply(message, error.reason)
        reply = run.answer(message)
        if reply.has_error() and reply.error.reason == DataError.reason:
            # What is prepared was damaged under the run: the next message looks at it anew.
            self._open.pop(bundle_hash, None)
        return reply

    def _run_of(self, bundle_hash: str, message: Message) -> OpenRun:
        """The open run of a bundle.

        Raises:
            AdmissionError: The message holds no content.
            BundleRefused: The bundle is not approved.
            PolicyRefusal: The message is of another kind than a site answers.
            TrustError: The approval or the bundle does not hold.
            NotReady: The studies are not prepared yet.
            WardroundError: The run cannot be opened.
        """
        if not message.has_content():
            raise AdmissionError("the message holds no content")
        if message.metadata.message_type not in ANSWERED:
            raise PolicyRefusal(f"a site answers no message of the kind {message.metadata.message_type!r}")
        try:
            approval = self._approvals.of(bundle_hash)
        except WardroundError:
            self._open.pop(bundle_hash, None)
            raise
        if bundle_hash not in self._open or self._open[bundle_hash].approval != approval:
            self._open[bundle_hash] = self._opened(approval)
        self._open.move_to_end(bundle_hash)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return self._open[bundle_hash]

    def _approvals_to_come(self) -> list[Approval]:
        """The approvals of runs that have not ended here, the last one first."""
        closed = {entry.fields["run"] for entry in self._audit.trail if entry.kind is Kind.RUN_CLOSED}
        return [approval for approval in reversed(self._approvals.all()) if approval.run not in closed]

    def _opened(self, approval: Approval) -> OpenRun:
        bundle = self._approvals.bundle(approval)
        self._note_approval(approval)
        check_device(bundle.config.device)
        ledger = self._ledger.open()
        prepared = self._preparer.ready(bundle)
        site = open_site(self._config, bundle, prepared, ledger, self._randomness, key=self._key)
        if approval.code != code_digest():
            _log.warning("bundle %s was approved when other code was installed than now", bundle.hash)
        return OpenRun(site, self._guard(site, approval, ledger), approval)

    def _note_approval(self, approval: Approval) -> None:
        """Write into the log, once, that a bundle was approved."""
        content = self._approvals.digest_of(approval.bundle)
        if not any(entry.kind is Kind.BUNDLE_APPROVED and entry.content == content for entry in self._audit.trail):
            self._audit.append(Kind.BUNDLE_APPROVED, content=content, run=approval.run, bundle=approval.bundle)

    def _note_refusal(self, bundle_hash: str, reason: str) -> None:
        """Write into the log that a bundle was refused; its run is not known then, and its hash stands for it.

        A server asks again and again: what the log says last is not said twice.
        """
        last = next(reversed(self._audit.trail), None)
        said = {"run": bundle_hash, "round": BEFORE_ANY_ROUND, "reason": reason}
        if last is not None and last.kind is Kind.REFUSAL and dict(last.fields) == said:
            return
        self._audit.append(Kind.REFUSAL, run=bundle_hash, round=BEFORE_ANY_ROUND, reason=reason)

    def _guard(self, site: Site, approval: Approval, ledger: Ledger) -> Guard:
        return Guard(
            policy=policy_of(self._config, approvals=[approval.approved]),
            run=site.request(bundle_hash=approval.bundle),
            ledger=ledger,
            recorder=self._recorder,
        )


class OpenRun:
    """A run that is ready to answer.

    Args:
        site: The hospital in it.
        guard: What its gate asks.
        approval: Why it may answer.
    """

    def __init__(self, site: Site, guard: Guard, approval: Approval) -> None:
        self.approval = approval

        def lend(context: Context) -> AbstractContextManager[Site]:  # noqa: ARG001 - there is one
            return nullcontext(site)

        self._app = build_client_app(lend, guard_of=lambda context: guard)  # noqa: ARG005 - there is one

    def answer(self, message: Message) -> Message:
        """The reply, through the gate."""
        metadata = message.metadata
        context = Context(metadata.run_id, metadata.dst_node_id, {}, RecordDict(), {})
        return self._app(message, context)
