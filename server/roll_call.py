"""Who is there: the nodes of a Flower grid are asked who they are, and met once they have said it.

A node is asked who it is before it is asked for anything else. One that is still preparing its studies is asked again
every few seconds, one whose question was lost at once, and one that answered otherwise than with its name once a round,
or in a long wait every half minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from common.errors import AdmissionError
from common.pair_noise.keys import PairStatement
from common.wire.evidence import with_evidence
from common.wire.flower import hello_from_records, hello_to_records
from server.messages import keep_evidence, opened, pushed
from server.recorder import GREETING_ROUND, Recorder
from server.transport import Presence
from server.waiting import NotReady

Names: TypeAlias = Callable[[], Mapping[int, str]]
"""The nodes that are registered now, and the site of each."""

_LOGGER = logging.getLogger("wardround.server")


class RollCall:
    """The nodes that were asked who they are, and the sites that were met.

    Args:
        grid: Flower's grid.
        recorder: Who keeps the evidence.
        names: What the nodes are registered as; a node that says another name is refused, and one that is not
            registered is not even asked. None where a node's word is all there is, in a simulation.
    """

    def __init__(self, grid: Grid, recorder: Recorder, names: Names | None) -> None:
        self._grid = grid
        self._recorder = recorder
        self._names = names
        self._nodes: dict[str, int] = {}
        self._pair_keys: dict[str, PairStatement] = {}
        self._asked: dict[str, tuple[int, float]] = {}
        self._answers: dict[int, Message] = {}
        self._not_ready: dict[int, NotReady] = {}
        self._arrived: dict[str, str] = {}

    @property
    def awaited(self) -> tuple[str, ...]:
        """Names of the questions that are not answered yet."""
        return tuple(self._asked)

    @property
    def met(self) -> tuple[str, ...]:
        """The sites that were met, there or not."""
        return tuple(self._nodes)

    def node_of(self, site: str) -> int:
        """The node of a site that was met."""
        return self._nodes[site]

    def pair_keys(self, sites: Iterable[str]) -> tuple[PairStatement, ...]:
        """What some sites stated of their keys for shared noise, of those that did."""
        return tuple(self._pair_keys[site] for site in sites if site in self._pair_keys)

    def here(self, sites: Iterable[str]) -> list[str]:
        """Those of some sites that were met and whose nodes are there."""
        present = frozenset(self._grid.get_node_ids())
        return [site for site in sites if self._nodes.get(site) in present]

    def presence(self) -> Presence:
        """Who is there, and what the others say."""
        names = {} if self._names is None else self._names()
        not_ready = {names[node]: said.reason for node, said in self._not_ready.items() if node in names}
        return Presence(tuple(sorted(self.here(self._nodes))), not_ready)

    def someone_prepares(self) -> bool:
        """Whether a node that is there says that it is still preparing its studies."""
        present = frozenset(self._grid.get_node_ids())
        return any(said.is_preparing and node in present for node, said in self._not_ready.items())

    def arrivals(self) -> dict[str, str]:
        """Bands of the sites that were met since the last time; who did not prepare may be asked again at once."""
        self._not_ready = {node: said for node, said in self._not_ready.items() if said.is_preparing}
        arrived, self._arrived = self._arrived, {}
        return arrived

    def forget(self, site: str) -> None:
        """A site has to be met anew."""
        self._nodes.pop(site, None)

    def greet(self, seconds: float) -> None:
        """Ask each node who it is that was not met, is not being asked, and has not just said that it is not ready.

        Args:
            seconds: How long a node may take to say it.
        """
        now = time.monotonic()
        self._asked = {name: asked for name, asked in self._asked.items() if asked[1] > now}
        asked = {node for node, _ in self._asked.values()}
        resting = {node for node, said in self._not_ready.items() if said.ask_again_at > now}
        strangers = set(self._grid.get_node_ids()) - asked - resting - self._answers.keys()
        strangers -= set(self._nodes.values())
        registered: Mapping[int, str | None] = dict.fromkeys(strangers) if self._names is None else self._names()
        messages = {
            node: Message(
                with_evidence(hello_to_records(), self._recorder.greeting(registered[node])),
                node,
                MessageType.QUERY,
                ttl=seconds,
            )
            for node in sorted(strangers & registered.keys())
        }
        self._asked |= {name: (node, now + seconds) for name, node in pushed(self._grid, messages).items()}

    def takes(self, reply: Message) -> bool:
        """Whether a reply says who a node is; then it is kept until the answers are taken in."""
        asked = self._asked.pop(reply.metadata.reply_to_message_id, None)
        if asked is not None:
            self._answers[asked[0]] = reply
        return asked is not None

    def take_in(self) -> None:
        """Meet the nodes that have answered, in their order: what came first by chance decides nothing."""
        for node, message in sorted(self._answers.items()):
            try:
                self._welcome(node, message)
                self._not_ready.pop(node, None)
            except AdmissionError as error:
                said = NotReady.of(str(error), now=time.monotonic())
                known = self._not_ready.get(node)
                if known is None or known.reason != said.reason:
                    _LOGGER.log(said.level, "node %d: is not ready: %s", node, said.reason)
                self._not_ready[node] = said
        self._answers.clear()

    def _welcome(self, node: int, message: Message) -> None:
        """Meet a node.

        Raises:
            AdmissionError: It does not say who it is, has another's name, or its evidence does not hold.
        """
        records, evidence = opened(message)
        hello = hello_from_records(records)
        site = hello.site
        if self._names is not None and self._names().get(node) != site:
            raise AdmissionError("name")
        if self.here((site,)):
            raise AdmissionError("name")
        keep_evidence(self._recorder, site, evidence, records, round_number=GREETING_ROUND)
        self._nodes[site], self._arrived[site] = node, hello.patients_band
        self._pair_keys.pop(site, None)
        if hello.pair_key is not None:
            self._pair_keys[site] = hello.pair_key
