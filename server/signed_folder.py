"""A run folder whose state file is always vouched for: by the manifest, or by a log that is ahead of it.

The order is that of `common/evidence/manifest.py`, so that a crash at any point leaves a folder that can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.errors import CheckpointError, TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.evidence.manifest import (
    MANIFEST_FILE,
    STATE_FILE,
    FileDigest,
    Manifest,
    OpenSite,
    PrivateSite,
    digest_files,
    write_manifest,
)
from common.evidence.run_audit import LOGS_FOLDER
from common.files import sha256_of_file
from common.privacy.plan import PlanOf
from common.trust.keys import SigningKey
from server.checkpoint import RunState, SiteHistory


class SignedFolder:
    """The folder of one run.

    Args:
        folder: The run folder.
        log: The server's audit log, open.
        run: Digest of the run's configuration.
        key: Signs the manifest.
        privacy: What a round costs a site with a band of patients.
    """

    def __init__(self, folder: Path, *, log: AuditLog, run: str, key: SigningKey, privacy: PlanOf) -> None:
        self._folder = folder
        self._log = log
        self._run = run
        self._key = key
        self._privacy = privacy
        self._state_file: FileDigest | None = None

    def vouch(self, state: RunState, path: Path) -> None:
        """Note a state that is written beside the place that it is about to take.

        Raises:
            OSError: It cannot be read.
            TrustError: The log cannot be written.
        """
        digest = sha256_of_file(path)
        self._log.append(Kind.CHECKPOINT, content=digest, run=self._run, round=state.rounds_completed)
        self._copy_log()
        self._state_file = FileDigest(name=STATE_FILE, sha256=digest)

    def sign(self, state: RunState, *files: FileDigest) -> None:
        """Write the manifest of the state that `vouch` noted, now that it has taken its place.

        Raises:
            CheckpointError: The disk refuses it; the last one stays.
        """
        if self._state_file is None:
            raise TrustError(f"{self._folder / STATE_FILE}: nothing in the log vouches for it yet")
        manifest = Manifest(
            run=self._run,
            round_number=state.rounds_completed,
            files=(self._state_file, *files),
            sites=tuple(self._site(name, state.sites[name]) for name in sorted(state.sites)),
            head=self._log.trail.head.content,
        )
        write_manifest(self._folder, manifest, self._key)

    def close(self, state: RunState, *, status: str, files: Sequence[Path]) -> None:
        """Write the last manifest, which lists files beside the state, and let the log close the run with it.

        Raises:
            CheckpointError: A file cannot be read, or the manifest not be written.
            TrustError: The log cannot be written.
        """
        try:
            # Once more, whatever came before: the run may have ended before its first checkpoint, or within one.
            self.vouch(state, self._folder / STATE_FILE)
            digests = digest_files(self._folder, *(path.relative_to(self._folder) for path in files))
        except OSError as error:
            raise CheckpointError(
                f"{error.filename}: cannot be read ({error.strerror}), so the run cannot be closed; resume it"
            ) from error
        self.sign(state, *digests)
        manifest = sha256_of_file(self._folder / MANIFEST_FILE)
        self._log.append(Kind.RUN_CLOSED, content=manifest, run=self._run, rounds=state.rounds_completed, status=status)
        self._copy_log()

    def _copy_log(self) -> None:
        self._log.copy_to(self._folder / LOGS_FOLDER / self._log.trail.owner.owner)

    def _site(self, name: str, history: SiteHistory) -> PrivateSite | OpenSite:
        plan = self._privacy(history.patients_band)
        if plan is None or history.ledger_head is None:
            return OpenSite(name=name)
        return PrivateSite(
            name=name,
            ledger_head=history.ledger_head,
            epsilon=plan.epsilon_after(history.rounds_asked),
            delta=plan.delta,
        )
