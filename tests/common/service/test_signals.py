"""SIGTERM and SIGINT set the event, and what handled them before does so again after the block."""

from __future__ import annotations

import signal

import pytest

from common.service.signals import end_by_signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_sets_the_event_and_the_earlier_handler_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with end_by_signal() as end:
        assert not end.is_set()
        signal.raise_signal(number)
        assert end.is_set()
    assert signal.getsignal(number) == before
