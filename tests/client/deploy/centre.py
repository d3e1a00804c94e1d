"""A coordinating centre that answers a site, without the server's own code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from common.trust.admission import Admission
from common.trust.consortium import Consortium
from common.trust.keys import SigningKey
from common.trust.request import JoinRequest, read_request
from common.trust.times import as_text
from tests.common.trust.pki import Authority

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Centre:
    """A centre with its key, and what it tells hospitals."""

    folder: Path
    key: SigningKey
    consortium: Consortium

    @classmethod
    def new(cls, folder: Path, *, now: datetime = NOW) -> Centre:
        """A centre with a new key and root."""
        key = SigningKey.create(folder / "server.pem")
        consortium = Consortium(
            name="north-sea",
            version=1,
            hosts=("server.example.org",),
            port=8443,
            signing_key=key.public.hex,
            roots=(Authority.new(now=now, days=3650).root.pem,),
        )
        return cls(folder, key, consortium)

    def with_new_root(self, *, now: datetime = NOW) -> Centre:
        """The same centre, one version on."""
        roots = (*self.consortium.roots, Authority.new(now=now).root.pem)
        return replace(self, consortium=replace(self.consortium, version=self.consortium.version + 1, roots=roots))

    @property
    def bundle(self) -> Path:
        """What a hospital gets."""
        path = self.folder / "consortium.json"
        path.write_bytes(self.consortium.sealed(self.key))
        return path

    def answer(self, request_file: Path, *, now: datetime = NOW) -> Path:
        """Its answer to a request."""
        return self.answer_to(read_request(request_file.read_bytes()), now=now)

    def answer_to(self, request: JoinRequest, *, now: datetime = NOW) -> Path:
        """Its answer to what a request says."""
        admission = Admission(
            site=request.site,
            signing_key=request.signing_key,
            node_key=request.node_public_key.fingerprint,
            admitted=as_text(now),
            expires=as_text(self.consortium.root.end),
            consortium=self.consortium,
        )
        path = self.folder / f"{request.site}.json"
        path.write_bytes(admission.sealed(self.key))
        return path
