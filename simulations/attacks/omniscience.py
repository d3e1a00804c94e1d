"""Omniscient attackers: they see the honest updates of a round before they send their own.

Honest sites post a copy of their update on a board. An attacker trains, waits until all of them have posted or failed,
and replaces its update by one made from theirs. Messages are answered in the order of the sites' names and attackers
come last, so whoever an attacker waits for is at work already: who has not begun by then was not asked. It waits no
longer than the server would.

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

import threading
import time

import torch
from flwr.app import Context, Message
from torch import Tensor

from common.seeds import torch_generator
from common.wire.flower import TASK, UPDATE, task_from_records
from common.wire.flower_arrays import arrays_from_record, arrays_to_record
from simulations.attacks.crafted.interface import Craft, View
from simulations.attacks.interface import Scene
from simulations.attacks.replies import as_arrays, as_vector, has_update
from simulations.runtime import Handler

PATIENCE = 0.9
"""Share of its message's time to live after which an attacker takes what is on the board."""


BEGIN_SECONDS = 0.25
"""A site that has not begun so long after an attacker is done was not asked: it rests."""


class Board:
    """The honest updates of the latest round, by site.

    Args:
        num_honest: Sites that post.
    """

    def __init__(self, num_honest: int) -> None:
        self._num_honest = num_honest
        self._round = 0
        self._begun: set[int] = set()
        self._posted: dict[int, Tensor | None] = {}
        self._news = threading.Condition()

    def begin(self, *, site: int, round_number: int) -> None:
        """Say that a site was asked in a round, and will post."""
        with self._news:
            self._turn_to(round_number)
            if round_number == self._round:
                self._begun.add(site)
                self._news.notify_all()

    def post(self, update_P: Tensor | None, *, site: int, round_number: int) -> None:
        """Post a site's update, None where it has none; one of a round that is over is not looked at."""
        with self._news:
            self._turn_to(round_number)
            if round_number == self._round:
                self._begun.add(site)
                self._posted[site] = update_P
                self._news.notify_all()

    def read(self, *, round_number: int, until: float) -> list[Tensor]:
        """The updates of a round in the order of the sites, when all have posted or the time has come.

        Args:
            round_number: The round.
            until: When to wait no longer, in seconds as `time.time` has them.
        """
        with self._news:
            self._turn_to(round_number)
            left = max(0.0, until - time.time())
            self._news.wait_for(
                lambda: self._round != round_number or len(self._begun) == self._num_honest,
                timeout=min(BEGIN_SECONDS, left),
            )
            self._news.wait_for(
                lambda: self._round != round_number or self._posted.keys() == self._begun,
                timeout=max(0.0, until - time.time()),
            )
            if self._round != round_number:
                return []
            return [update_P for _, update_P in sorted(self._posted.items()) if update_P is not None]

    def _turn_to(self, round_number: int) -> None:
        if round_number > self._round:
            self._round, self._begun, self._posted = round_number, set(), {}
            self._news.notify_all()


def with_omniscient(honest: Handler, scene: Scene, craft: Craft) -> list[Handler]:
    """The handlers of all sites: honest ones that are watched, and the attackers that watch them."""
    num_honest = scene.num_sites - scene.num_attackers
    board = Board(num_honest)
    return [_watched(honest, board)] * num_honest + [_crafting(honest, board, scene, craft)] * scene.num_attackers


def _watched(honest: Handler, board: Board) -> Handler:
    def answer(message: Message, context: Context) -> Message | None:
        if TASK not in message.content:
            return honest(message, context)
        update_P, site = None, int(context.node_config["partition-id"])
        round_number = task_from_records(message.content).round_number
        board.begin(site=site, round_number=round_number)
        try:
            reply = honest(message, context)
            if reply is not None and has_update(reply):
                update_P = as_vector(arrays_from_record(reply.content.array_records[UPDATE]))
            return reply
        finally:
            board.post(update_P, site=site, round_number=round_number)

    return answer


def _crafting(honest: Handler, board: Board, scene: Scene, craft: Craft) -> Handler:
    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is None or not has_update(reply):
            return reply
        round_number = task_from_records(message.content).round_number
        until = message.metadata.created_at + PATIENCE * message.metadata.ttl
        seen = board.read(round_number=round_number, until=until)
        if seen:
            update = arrays_from_record(reply.content.array_records[UPDATE])
            crafted_P = craft(torch.stack(seen), _view(scene, round_number))
            reply.content[UPDATE] = arrays_to_record(as_arrays(crafted_P, like=update))
        return reply

    return answer


def _view(scene: Scene, round_number: int) -> View:
    return View(
        num_sites=scene.num_sites,
        num_attackers=scene.num_attackers,
        max_norm=scene.config.federation.max_update_norm,
        round_number=round_number,
        generator=torch_generator(scene.config.seed, "attack", round_number),
    )
