"""The sorting network against torch.sort, and what it saves where only some places are asked for."""

from __future__ import annotations

import pytest
import torch

from strategies.sorting_network import RowSorter, comparators, plan_of


def _sorter(num_rows: int, wanted: range) -> RowSorter:
    return RowSorter(num_rows, wanted, like=torch.empty(0), most_values=64)


@pytest.mark.parametrize("num_rows", range(1, 46))
def test_rows_come_out_in_order(num_rows: int) -> None:
    rows_TB = torch.randn(num_rows, 64, generator=torch.Generator().manual_seed(num_rows)).round(decimals=1)
    kept_TB, expected_TB = rows_TB.clone(), rows_TB.sort(dim=0).values
    wholes = [range(num_rows), range(num_rows // 2, num_rows // 2 + 1), range((num_rows - 1) // 2, num_rows // 2 + 1)]
    trimmed = [range(f, num_rows - f) for f in range(1, (num_rows + 1) // 2)]
    for wanted in [*wholes, range(1), *trimmed]:
        found = _sorter(num_rows, wanted).sort(list(rows_TB))
        assert torch.equal(torch.stack(found), expected_TB[wanted.start : wanted.stop])
    assert torch.equal(rows_TB, kept_TB)


@pytest.mark.parametrize("num_rows", range(1, 13))
def test_network_sorts_every_pattern_of_zeros_and_ones(num_rows: int) -> None:
    """By the zero-one principle (Knuth, TAOCP 3, 5.3.4) it then sorts everything."""
    patterns = torch.arange(2**num_rows)
    rows_TB = torch.stack([(patterns >> place) % 2 for place in range(num_rows)])
    for low, high in comparators(num_rows):
        assert low < high
        rows_TB[low], rows_TB[high] = rows_TB[[low, high]].amin(0), rows_TB[[low, high]].amax(0)
    assert (rows_TB.diff(dim=0) >= 0).all()


@pytest.mark.parametrize("missing", range(5))
def test_network_that_lacks_a_comparator_does_not_sort(missing: int) -> None:
    """The control: with any of the first ones left out, some pattern of zeros and ones stays unsorted."""
    patterns = torch.arange(2**5)
    rows_TB = torch.stack([(patterns >> place) % 2 for place in range(5)])
    for number, (low, high) in enumerate(comparators(5)):
        if number != missing:
            rows_TB[low], rows_TB[high] = rows_TB[[low, high]].amin(0), rows_TB[[low, high]].amax(0)
    assert not (rows_TB.diff(dim=0) >= 0).all()


@pytest.mark.parametrize("num_rows", [3, 5, 10, 16, 40])
def test_fewer_places_take_fewer_steps(num_rows: int) -> None:
    whole = len(plan_of(num_rows, range(num_rows)).steps)
    assert whole == 2 * len(list(comparators(num_rows)))
    middle = len(plan_of(num_rows, range(num_rows // 2, num_rows // 2 + 1)).steps)
    trimmed = len(plan_of(num_rows, range(1, num_rows - 1)).steps)
    least = len(plan_of(num_rows, range(1)).steps)
    assert least < middle < whole
    assert trimmed < whole
    assert least == num_rows - 1


def test_sorter_is_used_again_for_shorter_blocks() -> None:
    sorter = _sorter(5, range(1, 4))
    for size in (64, 3, 1, 17):
        rows_TB = torch.randn(5, size, generator=torch.Generator().manual_seed(size))
        assert torch.equal(torch.stack(sorter.sort(list(rows_TB))), rows_TB.sort(dim=0).values[1:4])


def test_memory_grows_no_faster_than_the_rows() -> None:
    assert all(plan_of(num_rows, range(num_rows)).num_slots <= num_rows + 2 for num_rows in range(1, 46))
