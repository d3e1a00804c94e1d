"""A search as a hospital makes it: its own studies, and what the others answer to the same code.

Words and pictures end where they were encoded; here there are codes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from client.deploy.identity import SiteIdentity, read_identity
from client.network.way_out import WayOut
from client.policy.site_config import proxy_of
from client.policy.site_schema import SiteConfig
from client.search.asking import Server, ask
from client.search.generation import search_folder
from client.search.index import Gallery, Hit, SearchIndex
from client.search.traits import Filter
from client.state_folder import KEY_FILE
from common.errors import ConfigError
from common.hashing.codes import Codes
from common.search.answer import Answer
from common.search.question import new_question
from common.trust.keys import SigningKey


class MadeCodes(Protocol):
    """What made the codes, as far as it names itself."""

    @property
    def digest(self) -> str:
        """Of everything that makes codes, in hexadecimal."""
        ...

    @property
    def bit_width(self) -> int:
        """Bits of a code."""
        ...


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search finds.

    Attributes:
        own: This hospital's studies, the nearest first.
        others: What the others answer together; None where they were not asked.
        trouble: Why they could not be asked; None where they were, or were not to be.
    """

    own: tuple[Hit, ...]
    others: Answer | None = None
    trouble: str | None = None


class Searcher:
    """Searches by the codes of one model; the index is opened now, and again whenever it has changed.

    Args:
        site: The hospital's own configuration.
        model: What makes the codes.

    Raises:
        ConfigError: There is no index.
        TrustError: The index does not hold, or is of another model.
    """

    def __init__(self, site: SiteConfig, model: MadeCodes) -> None:
        self.site = site
        self._model = model
        self._key = SigningKey.load(site.state_folder / KEY_FILE)
        self._index = self._opened()

    @property
    def index(self) -> SearchIndex:
        """The hospital's index as it is now."""
        if not self._index.is_current:
            self._index = self._opened()
        return self._index

    def own(self, code_P: Codes, *, gallery: Gallery, k: int, only: Filter | None = None) -> tuple[Hit, ...]:
        """This hospital's studies near a code; nobody else is asked."""
        return self.index.search(code_P, gallery=gallery, k=k, only=only)

    def others(self, code_P: Codes, *, gallery: Gallery, k: int) -> Answer:
        """What the other hospitals answer to a code.

        Raises:
            NotAnswered: They could not be asked.
            ConfigError: site.yaml names no port, or the server takes no question of this hospital.
            TrustError: Membership or answer do not hold.
        """
        question = new_question(code_P, asker=self.site.site, model=self._model.digest, gallery=gallery, most=k)
        return ask(question, server_of(self.site), key=self._key)

    def _opened(self) -> SearchIndex:
        model = self._model
        return SearchIndex.open(
            search_folder(self.site), key=self._key.public, model=model.digest, bit_width=model.bit_width
        )


def server_of(site: SiteConfig) -> Server:
    """Where this hospital brings its questions.

    Raises:
        ConfigError: site.yaml names no port for it.
        TrustError: The keys or the admission do not hold.
    """
    if not site.search.server_port:
        raise ConfigError(
            "search.server_port: is not set, so that other hospitals cannot be asked; ask the coordinating centre for "
            "its search_port, or search with --alone"
        )
    identity: SiteIdentity = read_identity(site.state_folder, now=datetime.now(UTC))
    host = identity.consortium.address.rpartition(":")[0]
    way = WayOut(address=f"{host}:{site.search.server_port}", roots=identity.roots_file, proxy=proxy_of(site))
    return Server(way=way, key=identity.consortium.public_key)
