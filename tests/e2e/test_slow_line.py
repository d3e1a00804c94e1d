"""A hospital on a bad line: slow, and down while a model crosses it. The round comes back within its deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.app.message import array

from common.wire import objects
from common.wire.objects import cut_small
from tests.e2e.lines import Line
from tests.e2e.on_a_line import agent_of, app_of, reached_at, serving

TO_SERVER, TO_SITE = 0, 1


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends cut as their processes do: here they are this one."""
    monkeypatch.setattr(array, objects._CUT, vars(array)[objects._CUT])
    cut_small()


def model_of(num_bytes: int) -> RecordDict:
    """A question that is answered with what it holds; no two parts of it are the same."""
    values = np.random.default_rng(0).standard_normal(num_bytes // 4, dtype=np.float32)
    return RecordDict({"order": ConfigRecord({"do": "echo"}), "model": ArrayRecord([values])})


def lose(line: Line, how: Callable[[], None], *, way: int, after_bytes: int, seconds: float) -> threading.Thread:
    """Take the line down once it has carried so much that way."""
    begin = line.num_bytes[way]

    def run() -> None:
        while line.num_bytes[way] - begin < after_bytes:
            time.sleep(0.02)
        how()
        time.sleep(seconds)
        line.mend()

    thread = threading.Thread(target=run, name="loses the line", daemon=True)
    thread.start()
    return thread


def one_round(folder: Path, *, num_bytes: int, bytes_per_second: float, down_seconds: float, deadline: float) -> float:
    """Seconds of a round in which the line is silent while the model comes, and cut while it goes back."""
    with (
        serving(folder) as (link, identity),
        Line(link.installation.config.port, bytes_per_second=bytes_per_second).carrying() as line,
        agent_of(reached_at(identity, line.port)),
        app_of(link, folder) as app,
    ):
        node = link.control.nodes()[0].id
        content, begin = model_of(num_bytes), time.monotonic()
        lost = [lose(line, line.silence, way=TO_SITE, after_bytes=num_bytes // 2, seconds=down_seconds)]
        lost.append(lose(line, line.cut, way=TO_SERVER, after_bytes=num_bytes // 2, seconds=down_seconds))
        reply = app.ask(node, content, ttl=deadline, within_seconds=deadline)
        seconds = time.monotonic() - begin
        for thread in lost:
            thread.join()
        model = reply.content.array_records["model"].object_id
        assert model == content.array_records["model"].object_id
        assert sum(line.num_bytes) > 2 * num_bytes
    return seconds


def test_round_outlives_a_line_that_is_silent_and_one_that_is_cut(tmp_path: Path) -> None:
    seconds = one_round(tmp_path, num_bytes=3_000_000, bytes_per_second=1_000_000, down_seconds=5, deadline=150)
    assert seconds > 2 * (3 + 5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_round_outlives_two_minutes_without_a_line_of_64_kilobytes_a_second(tmp_path: Path) -> None:
    """3 MB take 47 s each way; the line is down for two minutes each way."""
    seconds = one_round(tmp_path, num_bytes=3_000_000, bytes_per_second=64_000, down_seconds=120, deadline=600)
    assert seconds > 2 * (47 + 120)
