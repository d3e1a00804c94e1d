"""An alias table states the law's integer weights exactly, and its draws follow them to the last of 80 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from client.dp.alias_table import FRACTION_BITS, NUM_COLUMNS, TOTAL_WEIGHT, AliasTable, build_alias_table
from common.privacy.keystream import Keystream

CAPACITY = 1 << FRACTION_BITS
FIRST = -NUM_COLUMNS // 2
ALPHA = 1e-6


def weights_of(table: AliasTable) -> list[int]:
    """The law that the columns state: each gives its threshold to its own value and the rest to its alias."""
    law = [0] * NUM_COLUMNS
    thresholds = zip(table.threshold.tolist(), table.threshold_rest.tolist(), strict=True)
    for column, (high, low) in enumerate(thresholds):
        law[column] += (high << 64) + low
        law[int(table.alias[column]) - FIRST] += CAPACITY - (high << 64) - low
    return law


def on_few_values(parts: dict[int, int]) -> list[int]:
    """A law on a few values, by column, in parts of the whole; the last one takes the rest."""
    weights = [0] * NUM_COLUMNS
    for column, part in parts.items():
        weights[column] = TOTAL_WEIGHT // part
    weights[max(parts)] += TOTAL_WEIGHT - sum(weights)
    return weights


def random_law() -> list[int]:
    generator = np.random.default_rng(3)
    weights = [int(value * 2**53) << 41 for value in generator.random(NUM_COLUMNS) ** 9]
    total = sum(weights)
    weights = [weight * TOTAL_WEIGHT // total for weight in weights]
    weights[7] += TOTAL_WEIGHT - sum(weights)
    return weights


LAWS: dict[str, Callable[[], list[int]]] = {
    "uniform": lambda: [CAPACITY] * NUM_COLUMNS,
    "one_value": lambda: on_few_values({NUM_COLUMNS - 1: 1}),
    "three_values": lambda: on_few_values({0: 3, 40_000: 7, 65_535: 11}),
    "random": random_law,
}


@pytest.mark.parametrize("law", LAWS)
def test_table_states_the_weights_exactly(law: str) -> None:
    weights = LAWS[law]()
    assert weights_of(build_alias_table(weights)) == weights


def test_draws_follow_the_weights() -> None:
    """With a fixed key, n = 300,000, alpha 1e-6; a law of other thirds and sevenths is refuted."""
    values = build_alias_table(LAWS["three_values"]()).draw(300_000, Keystream(bytes(32)))
    counts = [int(np.sum(values == FIRST + column)) for column in (0, 40_000, 65_535)]
    assert sum(counts) == len(values)
    right, wrong = np.array([1 / 3, 1 / 7, 11 / 21]), np.array([0.343, 1 / 7, 0.514143])
    assert stats.chisquare(counts, right * len(values)).pvalue > ALPHA
    assert stats.chisquare(counts, wrong / wrong.sum() * len(values)).pvalue < ALPHA


class Scripted(Keystream):
    """Columns, fractions and their other 64 bits as given, in this order."""

    def __init__(self, column: int, fraction: int, rest: int) -> None:
        super().__init__(bytes(32))
        self._short, self._long = [column, fraction], rest

    def uint16(self, count: int) -> npt.NDArray[np.uint16]:
        """See `Keystream`."""
        return np.full(count, self._short.pop(0), dtype=np.uint16)

    def uint64(self, count: int) -> npt.NDArray[np.uint64]:
        """See `Keystream`."""
        return np.full(count, self._long, dtype=np.uint64)


@pytest.mark.parametrize(("step", "own"), [(-1, True), (0, False), (1, False)])
def test_draw_compares_all_eighty_bits(step: int, own: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """One unit of 2^-80 below the threshold a column gives its own value, from the threshold on its alias."""
    table = build_alias_table(LAWS["three_values"]())
    column = 40_000 if int(table.alias[40_000]) - FIRST != 40_000 else 0
    threshold = (int(table.threshold[column]) << 64) + int(table.threshold_rest[column])
    fraction = threshold + step
    value = int(table.draw(1, Scripted(column, fraction >> 64, fraction % 2**64))[0])
    assert value == (FIRST + column if own else int(table.alias[column]))


@pytest.mark.parametrize(
    "weights",
    [
        [CAPACITY] * (NUM_COLUMNS - 1),
        [CAPACITY + 1, *[CAPACITY] * (NUM_COLUMNS - 1)],
        [-1, 2 * CAPACITY + 1, *[CAPACITY] * (NUM_COLUMNS - 2)],
    ],
)
def test_table_of_no_law_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="sum to"):
        build_alias_table(weights)
