"""The checkpoint manifest: one signed file that says which files a run folder holds, and what they came of.

The server writes it for the first state, after each checkpoint, when a run is resumed, and once more at the end, with
the report in it. In this order a crash at any point leaves a folder that can be checked:

1. the `checkpoint` entry, with the digest of the state file that is about to take its place, and a copy of the log;
2. the state file;
3. the manifest, with the log's head, which covers that entry;
4. at the end: the `run_closed` entry, with the digest of the last manifest, and a copy of the log.

Between 2 and 3 the manifest is one checkpoint behind, and the log already vouches for the file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.errors import CheckpointError, TrustError
from common.evidence.log_heads import HeadContent
from common.files import sha256_of_file, write_atomically
from common.privacy.events import NEIGHBORING_RELATION, UNIT_OF_PRIVACY
from common.trust.envelope import read_file, seal, unseal
from common.trust.keys import PublicKey, SigningKey

MANIFEST_FILE = Path("checkpoint") / "manifest.json"

STATE_FILE = "checkpoint/state.safetensors"
"""The state file, below the run folder."""

_PURPOSE = "checkpoint manifest"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """One file of the run folder.

    Attributes:
        name: Its path below the run folder, with `/`.
        sha256: Digest of its bytes, in hexadecimal.

    Raises:
        TrustError: The path leaves the folder, or the digest is none.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or str(path) != self.name or self.name == ".":
            raise TrustError("a manifest names a file that is not in the run folder")
        if not _DIGEST.fullmatch(self.sha256):
            raise TrustError(f"a manifest holds no digest of {self.name}")


@dataclass(frozen=True, kw_only=True)
class PrivateSite:
    """A site that pays for what it releases.

    Attributes:
        name: The site's name.
        ledger_head: Digest of its ledger's last entry, as it last said.
        epsilon: Spent in this run by what the server asked for.
        delta: At which epsilon is stated.

    Raises:
        TrustError: Epsilon or delta is negative or not finite.
    """

    name: str
    ledger_head: str
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon < math.inf and 0 <= self.delta < 1):
            raise TrustError(f"a manifest holds no epsilon and delta of {self.name}")


@dataclass(frozen=True, kw_only=True)
class OpenSite:
    """A site of a run without noise, or one that has not said yet what its ledger holds.

    Attributes:
        name: The site's name.
    """

    name: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run folder holds.

    Attributes:
        run: Digest of the run's configuration.
        round_number: Rounds that are in the state file.
        files: The state file, and whatever else is vouched for.
        sites: The sites.
        head: Head of the log of whoever signs.
        unit_of_privacy: Of each epsilon.
        neighboring_relation: Of each epsilon.

    Raises:
        TrustError: The state file is not listed.
    """

    run: str
    round_number: int
    files: tuple[FileDigest, ...]
    sites: tuple[PrivateSite | OpenSite, ...]
    head: HeadContent
    unit_of_privacy: str = UNIT_OF_PRIVACY
    neighboring_relation: str = NEIGHBORING_RELATION

    def __post_init__(self) -> None:
        if STATE_FILE not in [file.name for file in self.files]:
            raise TrustError(f"a manifest does not list {STATE_FILE}")


def digest_files(folder: Path, *names: Path) -> tuple[FileDigest, ...]:
    """Digests of files below a run folder.

    Raises:
        OSError: One cannot be read.
    """
    return tuple(FileDigest(name=name.as_posix(), sha256=sha256_of_file(folder / name)) for name in names)


def write_manifest(folder: Path, manifest: Manifest, key: SigningKey) -> None:
    """Write the manifest of a run folder, signed, atomically.

    Raises:
        CheckpointError: The disk refuses it; the last one stays.
    """
    path = folder / MANIFEST_FILE
    try:
        write_atomically(path, seal(manifest, key, purpose=_PURPOSE))
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); free the disk, then go on with --resume {folder}"
        ) from error


def read_manifest(folder: Path, key: PublicKey) -> Manifest:
    """The manifest of a run folder.

    Raises:
        TrustError: It cannot be read, is damaged, or was signed with another key.
    """
    path = folder / MANIFEST_FILE
    content = read_file(path)
    try:
        return unseal(content, Manifest, key, purpose=_PURPOSE)
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error
