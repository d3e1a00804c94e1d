"""The two sides of the benchmark do the same work, and its rows set the right figures side by side."""

from __future__ import annotations

import pytest
import torch

from simulations.benchmarks import encode as bench
from simulations.benchmarks.cli import BENCHES

FEATURES_AGREE_WITHIN = 1e-3


def test_both_sides_give_the_same_features() -> None:
    here, peer = bench.encoders(bench.pictures(5), bench.reports(20))
    for what, features in here.items():
        torch.testing.assert_close(features(), peer[what](), rtol=0, atol=FEATURES_AGREE_WITHIN)


def test_texts_are_of_many_lengths_and_some_reach_the_limit() -> None:
    lengths = [len(text.split()) for text in bench.reports(bench.NUM_STUDIES)]
    assert min(lengths) < 20
    assert max(lengths) > bench.MAX_TOKENS
    assert len(set(lengths)) > bench.NUM_STUDIES // 2


def test_rows_are_per_study_and_their_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "NUM_STUDIES", 4)
    times = iter([[8.0, 16.0], [2.0, 6.0]])
    monkeypatch.setattr(bench, "encoders", lambda *_: ({"image": None, "report": None},) * 2)
    monkeypatch.setattr(bench, "timed_in_turn", lambda _: next(times))
    rows = BENCHES.load("encode")()
    assert [(row.name, row.seconds, row.peer_seconds, row.speedup) for row in rows] == [
        ("image", 2.0, 4.0, 2.0),
        ("report", 0.5, 1.5, 3.0),
        ("study", 2.5, 5.5, 2.2),
    ]
