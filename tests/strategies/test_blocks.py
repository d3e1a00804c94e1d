"""The walk over blocks: every value once, results in order, one torch thread in each worker and in the caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from strategies import blocks
from strategies.blocks import block_values, map_spans, one_thread

CPU = torch.device("cpu")


@pytest.mark.parametrize("num_values", [1, 2, 15, 16, 17, 31, 33, 100, 1000, 1023])
@pytest.mark.parametrize("block", [1, 2, 7, 64, 2000])
def test_spans_cover_every_value_once_and_in_order(
    num_values: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", block)
    found = map_spans(num_values, list, block=block_values(CPU), device=CPU)
    walked = [part for span in found for part in span]
    assert [value for part in walked for value in range(num_values)[part]] == list(range(num_values))
    assert all(part.stop - part.start <= block for part in walked)
    assert len(found) <= blocks.NUM_SPANS


def test_no_values_make_no_span() -> None:
    assert map_spans(0, list, block=block_values(CPU), device=CPU) == []


def test_results_keep_the_order_of_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first span is the last to finish."""
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", 1)

    def work(span: Iterator[slice]) -> int:
        start = next(span).start
        time.sleep(0.02 if start == 0 else 0)
        return start

    found = map_spans(16, work, block=block_values(CPU), device=CPU)
    assert found == list(range(16))


def test_spans_are_near_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", 10)
    spans = map_spans(10_000, list, block=block_values(CPU), device=CPU)
    sizes = [sum(part.stop - part.start for part in span) for span in spans]
    assert len(sizes) == 16
    assert max(sizes) - min(sizes) <= 10


def test_workers_are_one_thread_each_and_the_caller_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.BLOCK_VALUES, "cpu", 1)
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
        block = block_values(CPU)
        found = map_spans(16, lambda _: (torch.get_num_threads(), threading.get_ident()), block=block, device=CPU)
    assert torch.get_num_threads() == before
    assert {threads for threads, _ in found} == {1}
    assert threading.get_ident() not in {worker for _, worker in found}


def test_error_of_a_worker_comes_through_and_threads_are_given_back() -> None:
    before = torch.get_num_threads()

    def work(_: Iterator[slice]) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), one_thread():
        map_spans(5, work, block=block_values(CPU), device=CPU)
    assert torch.get_num_threads() == before
