"""Sorts each coordinate over the sites with minima and maxima of whole rows: no branch, no index, no copy of a column.

Batcher's odd-even merge sort (Batcher, AFIPS 1968; Knuth, TAOCP 3, 5.2.2, Algorithm M) for any number of rows. Only
what the wanted places of the order depend on is computed.

Shapes: T rows, B values of each in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One minimum or maximum of two slots, written to a third; slots below T are the rows themselves.

    Attributes:
        take: `torch.minimum` or `torch.maximum`.
        first: Slot.
        second: Slot.
        out: Slot of our own memory, which may be one of the two.
    """

    take: Callable[..., Tensor]
    first: int
    second: int
    out: int


@dataclass(frozen=True)
class Plan:
    """The steps that bring the wanted places of an order to some slots.

    Attributes:
        steps: In order.
        places: Slot of each wanted place.
        num_slots: Slots of our own memory.
    """

    steps: tuple[Step, ...]
    places: tuple[int, ...]
    num_slots: int


class RowSorter:
    """Sorts blocks of rows, in memory of its own that is used again for each block.

    Args:
        num_rows: T.
        wanted: Places of the ascending order that are asked for.
        like: A tensor with the rows' type and device.
        most_values: Largest B.
    """

    def __init__(self, num_rows: int, wanted: range, *, like: Tensor, most_values: int) -> None:
        self._plan = plan_of(num_rows, wanted)
        self._memory = torch.empty(self._plan.num_slots, most_values, dtype=like.dtype, device=like.device)

    def sort(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """The wanted places of the order, each `[B]`, valid until the next call. The rows stay as they are."""
        size = rows[0].numel()
        slots = [*rows, *(slot[:size] for slot in self._memory)]
        for step in self._plan.steps:
            step.take(slots[step.first], slots[step.second], out=slots[step.out])
        return [slots[slot] for slot in self._plan.places]


@lru_cache(maxsize=256)
def plan_of(num_rows: int, wanted: range) -> Plan:
    """The plan for a number of rows."""
    slot_of, free, num_slots, steps = list(range(num_rows)), [], 0, []
    for low, high, keeps in _needed(num_rows, wanted):
        first, second = slot_of[low], slot_of[high]
        # Both inputs are read for the last time by the last of the comparator's steps.
        spent = [slot for slot in (first, second) if slot >= num_rows]
        for take, place in keeps.items():
            if place == list(keeps.values())[-1]:
                free += spent
            if not free:
                free.append(num_rows + num_slots)
                num_slots += 1
            slot_of[place] = free.pop()
            steps.append(Step(take, first, second, slot_of[place]))
    return Plan(tuple(steps), tuple(slot_of[place] for place in wanted), num_slots)


def _needed(num_rows: int, wanted: range) -> list[tuple[int, int, dict[Callable[..., Tensor], int]]]:
    """The comparators on which the wanted places depend, with what of each is needed and its place."""
    needed, kept = set(wanted), []
    for low, high in reversed(list(comparators(num_rows))):
        keeps = {take: place for take, place in ((torch.minimum, low), (torch.maximum, high)) if place in needed}
        if keeps:
            kept.append((low, high, keeps))
            needed |= {low, high}
    return kept[::-1]


def comparators(num_rows: int) -> Iterator[tuple[int, int]]:
    """The whole network: pairs of places, of which the first gets the lesser value (Algorithm M)."""
    top = 1 << max(0, (num_rows - 1).bit_length() - 1)
    p = top if num_rows > 1 else 0
    while p > 0:
        q, r, d = top, 0, p
        while True:
            yield from ((i, i + d) for i in range(num_rows - d) if i & p == r)
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
