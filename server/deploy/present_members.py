"""The members of now, for a channel that stays open while hospitals join and leave: read again, and noted when new.

Who joins after a run was opened for searching is asked and may ask as soon as the list was looked at, and so is a
hospital that came back with new keys; who was revoked is neither. Before anybody on a new list is believed, it is
noted in the server's log (`members_log.py`), so that an older list that was put back is found here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock

from common.evidence.audit_log import AuditLog
from common.trust.keys import PublicKey
from server.deploy.installation import Installation, read_installation
from server.deploy.members_log import note_members


class PresentMembers(Mapping[str, PublicKey]):
    """Signing keys of the members, by name, as the list was when it was last looked at; threads may share it.

    Args:
        config_file: The consortium's `consortium.yaml`.
        log: The server's log, open.
    """

    def __init__(self, config_file: Path, log: AuditLog) -> None:
        self._config_file = config_file
        self._log = log
        self._lock = Lock()
        self._keys: Mapping[str, PublicKey] = {}
        self()

    def __call__(self) -> Mapping[str, PublicKey]:
        """Look at the list; the members that are on it now.

        Raises:
            TrustError: The list does not hold, or does not go on from the one that was noted last.
        """
        # Read and noted as one: of two threads none may note a list after the other has noted a newer one.
        with self._lock:
            installation = read_installation(self._config_file)
            note_members(self._log, installation.members, installation.signing_key)
            self._keys = keys_of(installation)
            return self._keys

    def __getitem__(self, site: str) -> PublicKey:
        """A member's key."""
        return self._keys[site]

    def __iter__(self) -> Iterator[str]:
        """Names of the members."""
        return iter(self._keys)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._keys)


def keys_of(installation: Installation) -> Mapping[str, PublicKey]:
    """The members' signing keys by name."""
    return {name: PublicKey.from_hex(member.signing_key) for name, member in installation.members.present.items()}
