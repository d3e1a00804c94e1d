"""What a hospital approved: for each bundle a signed approval, and the bundle itself beside it.

STATE/approvals/HASH.json    sealed with the site's key
STATE/bundles/HASH.bundle    the file that was approved

An approval is there or not: to withdraw one takes its file away, and holds from the next message. One that is of
another site or bundle, or not signed with the site's key, is none. The bundle is written before its approval.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from client.policy.site_policy import Approved
from common.bundle import Bundle, bundle_of, read_bundle
from common.errors import BundleRefused, TrustError
from common.files import sha256_hex, write_atomically
from common.trust.envelope import read_file, seal, unseal
from common.trust.keys import SigningKey
from common.trust.times import as_text

_HASH = re.compile(r"[0-9a-f]{64}")
PURPOSE = "bundle approval"
APPROVALS_FOLDER, BUNDLES_FOLDER = "approvals", "bundles"


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A hospital's word that a run may train on its patients' studies.

    Attributes:
        site: The hospital.
        bundle: Hash of the bundle.
        run: Digest of its configuration.
        code: Digest of the wardround that was installed when it was approved.
        time: When (ISO 8601, UTC).
        epsilon: Most that the run spends of any patient, as it was shown; unit: the patient, neighbours: add or remove
            one patient.
        delta: At which epsilon is stated.
    """

    site: str
    bundle: str
    run: str
    code: str
    time: str
    epsilon: str
    delta: str

    @property
    def approved(self) -> Approved:
        """As the policy's rules take it."""
        return Approved(bundle=self.bundle, run=self.run)


class Approvals:
    """A site's approvals on the disk; each call looks anew.

    Args:
        state: The site's state folder.
        site: Its name.
        key: Its key.
    """

    def __init__(self, state: Path, *, site: str, key: SigningKey) -> None:
        self._approvals = state / APPROVALS_FOLDER
        self._bundles = state / BUNDLES_FOLDER
        self._site = site
        self._key = key

    def give(
        self, bundle_file: Path, bundle: Bundle, *, code: str, epsilon: float, delta: float, now: datetime
    ) -> None:
        """Approve a bundle.

        Args:
            bundle_file: Its file.
            bundle: What was read of it, and shown to whoever approves.
            code: Digest of the installed wardround.
            epsilon: Most that the run spends of any patient.
            delta: At which it is stated.
            now: The time.

        Raises:
            TrustError: The file changed since it was read.
        """
        content = bundle_file.read_bytes()
        if bundle_of(content) != bundle:
            raise TrustError(f"{bundle_file}: changed while it was looked at; begin again")
        approval = Approval(
            site=self._site,
            bundle=bundle.hash,
            run=bundle.run,
            code=code,
            time=as_text(now),
            epsilon=f"{epsilon:.6g}",
            delta=f"{delta:.6g}",
        )
        for folder in (self._bundles, self._approvals):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._bundle_file(bundle.hash), content)
        write_atomically(self._file(bundle.hash), seal(approval, self._key, purpose=PURPOSE))

    def of(self, bundle_hash: str) -> Approval:
        """The approval of a bundle.

        Raises:
            BundleRefused: There is none.
            TrustError: It is damaged, of another site or bundle, or not signed with the site's key.
        """
        path = self._file(bundle_hash)
        if not path.exists():
            raise BundleRefused(f"bundle {bundle_hash} is not approved; look at it with wardround site approve")
        try:
            approval = unseal(read_file(path), Approval, self._key.public, purpose=PURPOSE)
        except TrustError as error:
            raise TrustError(f"{path}: {error}; withdraw it, and approve the bundle again") from error
        if (approval.site, approval.bundle) != (self._site, bundle_hash):
            raise TrustError(f"{path}: is of another site or bundle; withdraw it, and approve the bundle again")
        return approval

    def digest_of(self, bundle_hash: str) -> str:
        """SHA-256 of the signed approval."""
        return sha256_hex(read_file(self._file(bundle_hash)))

    def all(self) -> list[Approval]:
        """Every approval, the last one last.

        Raises:
            TrustError: One of them does not hold.
        """
        found = [self.of(path.stem) for path in self._approvals.glob("*.json")]
        return sorted(found, key=lambda approval: approval.time)

    def bundle(self, approval: Approval) -> Bundle:
        """What was approved.

        Raises:
            TrustError: Its file is gone, damaged or another.
        """
        path = self._bundle_file(approval.bundle)
        bundle = read_bundle(path)
        if (bundle.hash, bundle.run) != (approval.bundle, approval.run):
            raise TrustError(f"{path}: is not what was approved; approve the bundle again")
        return bundle

    def withdraw(self, bundle_hash: str) -> None:
        """Take an approval back, also one that does not hold; the bundle's file goes with it.

        Raises:
            BundleRefused: There is none.
        """
        path = self._file(bundle_hash)
        if not path.exists():
            raise BundleRefused(f"bundle {bundle_hash} is not approved; wardround site approve --list shows what is")
        path.unlink()
        self._bundle_file(bundle_hash).unlink(missing_ok=True)

    def _file(self, bundle_hash: str) -> Path:
        """Where an approval lies.

        Raises:
            BundleRefused: The text is no hash, so that nothing can be approved under it.
        """
        if not _HASH.fullmatch(bundle_hash):
            raise BundleRefused("a bundle's hash is 64 of 0-9 and a-f; wardround site approve --list shows some")
        return self._approvals / f"{bundle_hash}.json"

    def _bundle_file(self, bundle_hash: str) -> Path:
        return self._bundles / f"{bundle_hash}.bundle"
