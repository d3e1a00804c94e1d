"""Sites that ask a consortium for admission, without the site's own code."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.trust.keys import SigningKey
from common.trust.node_key import NodeKey
from common.trust.request import JoinRequest, read_request, write_request
from server.deploy.installation import Installation
from server.deploy.membership import admit

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Asking:
    """A site with its keys in a folder."""

    folder: Path
    signing_key: SigningKey
    node_key: NodeKey

    @classmethod
    def new(cls, folder: Path) -> Asking:
        """A site with new keys."""
        return cls(folder, SigningKey.create(folder / "key.pem"), NodeKey.create(folder / "node"))

    def request(self, installation: Installation, name: str = "hospital-1", *, now: datetime = NOW) -> Path:
        """The file with which it asks for a name."""
        path = self.folder / f"{name}.json"
        path.write_bytes(
            write_request(
                consortium=installation.signing_key.public,
                site=name,
                signing_key=self.signing_key,
                node_key=self.node_key,
                now=now,
            )
        )
        return path


def said(path: Path) -> JoinRequest:
    """What a request's file says."""
    return read_request(path.read_bytes())


def admitted(installation: Installation, path: Path, *, now: datetime = NOW) -> Path:
    """The admission of a request that people compared."""
    return admit(installation.folder / "consortium.yaml", path, confirmed=said(path).digest, now=now)
