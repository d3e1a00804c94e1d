"""A site's keys are made where they stay, its request is signed with them, and the answer to it is taken."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from client.deploy.identity import (
    BUNDLE_FILE,
    NODE_KEY_FILE,
    SiteIdentity,
    SiteKeys,
    check_admission,
    read_identity,
    read_keys,
    read_part,
    roots_of,
)
from client.state_folder import ADMISSION_FILE, KEY_FILE, LOG_FOLDER, REQUEST_FILE, ROOTS_FILE
from common.errors import ConfigError, TrustError
from common.evidence.audit_log import AuditLog
from common.files import write_atomically
from common.trust.admission import Admission, read_admission
from common.trust.consortium import Consortium, read_consortium
from common.trust.envelope import read_file
from common.trust.key_files import new_private_folder
from common.trust.keys import SigningKey
from common.trust.names import NAME_RULE, is_name
from common.trust.node_key import NodeKey
from common.trust.request import write_request

_AGAIN = "ask the coordinating centre for it again"


def read_invitation(bundle: Path, *, now: datetime) -> Consortium:
    """The consortium that a file invites to; people compare its digest before anything is made for it.

    Raises:
        TrustError: The file is damaged, or its root is not valid now.
    """
    consortium = read_part(bundle, read_consortium, remedy=_AGAIN)
    consortium.expiry.check(now)
    return consortium


def create_site(folder: Path, *, bundle: Path, confirmed: str, name: str, now: datetime) -> SiteKeys:
    """A site's keys and its request, in a folder that appears when all of it is there.

    Args:
        folder: A folder that is not there yet, or is empty.
        bundle: The consortium's file.
        confirmed: Digest of the consortium that people compared.
        name: The name that the site asks for.
        now: The time.

    Raises:
        ConfigError: The name is no plain one, or the folder holds something.
        TrustError: The file does not hold, or is another than was compared; or a key cannot be written.
    """
    if not is_name(name):
        raise ConfigError(f"--name {name}: not a name; {NAME_RULE}")
    consortium = read_invitation(bundle, now=now)
    if consortium.digest != confirmed:
        raise TrustError(f"{bundle}: is another file than the one that was compared; begin again")
    with new_private_folder(folder, remedy="give a new folder; a site keeps its keys") as lent:
        signing_key, node_key = SigningKey.create(lent / KEY_FILE), NodeKey.create(lent / NODE_KEY_FILE)
        request = write_request(
            consortium=consortium.public_key, site=name, signing_key=signing_key, node_key=node_key, now=now
        )
        write_atomically(lent / BUNDLE_FILE, read_file(bundle))
        write_atomically(lent / REQUEST_FILE, request)
    return read_keys(folder)


def join(folder: Path, admission_file: Path, *, now: datetime) -> SiteIdentity:
    """Take the answer to a site's request, or a newer one after the consortium's roots or hosts were changed.

    Raises:
        ConfigError: There is no such site.
        TrustError: It does not answer the request, is not valid now, or is older than the one that was taken.
    """
    keys, path, content = read_keys(folder), folder / ADMISSION_FILE, read_file(admission_file)
    admission = _answer(admission_file, content, keys)
    check_admission(admission, now)
    if path.exists() and _answer(path, read_file(path), keys).consortium.version > admission.consortium.version:
        raise TrustError(f"{admission_file}: is older than the one that was taken; {_AGAIN}")
    if not path.exists():  # a member without a log has lost it
        AuditLog(folder / LOG_FOLDER, owner=admission.site, key=keys.signing_key).close()
    write_atomically(path, content)
    write_atomically(folder / ROOTS_FILE, roots_of(admission))
    return read_identity(folder, now=now)


def _answer(path: Path, content: bytes, keys: SiteKeys) -> Admission:
    """An admission, in the words of the file that it lies in.

    Raises:
        TrustError: It does not answer the site's request.
    """
    try:
        return read_admission(content, request=keys.request)
    except TrustError as error:
        raise TrustError(f"{path}: {error}; {_AGAIN}") from error
