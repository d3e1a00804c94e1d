"""The member list in the server's log: what finds an older list, signed and whole, that was put back.

The list's own signature cannot tell: it held when the list was new. The log can, since hospitals hold its heads.
"""

from __future__ import annotations

from common.errors import TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.files import sha256_hex
from common.trust.keys import SigningKey
from server.deploy.members import Members


def note_members(log: AuditLog, members: Members, key: SigningKey) -> None:
    """Note the member list where it is new; called whenever a run starts, before any member is asked.

    Args:
        log: The server's audit log, open.
        members: The list as it was read.
        key: The server's, which signs list and log.

    Raises:
        TrustError: The list is not the one that was noted last, or one that goes on from it.
    """
    noted = next((entry for entry in reversed(log.trail) if entry.kind is Kind.MEMBERS), None)
    if noted is not None:
        version = int(str(noted.fields["version"]))
        # A list is written in one way, so that its first entries give the very file that was noted.
        earlier = Members(members.consortium, members.entries[:version])
        if earlier.version != version or sha256_hex(earlier.sealed(key)) != noted.content:
            raise TrustError(
                f"members.json: has {members.version} entries and does not go on from the {version} that the server's "
                "log has; an older copy is in its place, restore the newest"
            )
        if members.version == version:
            return
    log.append(Kind.MEMBERS, content=sha256_hex(members.sealed(key)), version=members.version)
