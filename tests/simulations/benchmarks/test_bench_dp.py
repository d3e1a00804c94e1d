"""The steps that the benchmark times are the same work, and its rows set the right figures side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

from simulations.benchmarks import dp as bench
from simulations.benchmarks.cli import BENCHES

TINY = (
    "encoder.trainable=all",
    "encoder.width=16",
    "encoder.image_depth=1",
    "encoder.report_depth=1",
    "encoder.image_size=16",
    "encoder.patch_size=8",
    "encoder.num_heads=2",
    "encoder.max_tokens=8",
    "encoder.vocabulary=64",
    "encoder.embedding_dim=8",
    "code.bit_width=48",
    "code.num_centres=4",
    "loss.num_anchors=20",
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "NUM_THREADS", 1)


def test_bench_dp_is_registered() -> None:
    assert BENCHES.load("dp") is bench.bench_dp


def test_transformer_of_the_bench_has_six_million_parameters_of_known_layers() -> None:
    model = bench.transformer(2, bench.TRANSFORMER).model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert 5.5e6 < sum(parameter.numel() for parameter in trained) < 6.5e6


@pytest.mark.parametrize("path", bench.PRIVATE)
def test_private_step_does_the_work_of_the_plain_one(path: str) -> None:
    """Without clip and noise the private gradient is the plain one."""
    work = bench.transformer(6, TINY)
    engine = replace(bench._engine(path, work, sampling_probability=1.0), clip_norm=1e6, noise_multiplier=0.0)
    private, plain = engine.gradient(work.model, work.records, work.public), bench.plain_gradient(work)
    for name, value in plain.items():
        torch.testing.assert_close(private[name].float(), value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "vmap", "ghost", "opacus"])
def test_step_moves_every_trained_parameter(name: str) -> None:
    work = bench.transformer(4, TINY)
    before = {key: value.clone() for key, value in work.model.named_parameters() if value.requires_grad}
    bench.step_of(name, work)()
    after = dict(work.model.named_parameters())
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert len(moved) >= len(before) - 1  # a word that no report holds stands still without noise


def test_rows_compare_each_path_with_the_peer_and_the_plain_step() -> None:
    measured = {name: bench.Measured(wall, 2.0 * wall, 3.0 * wall) for wall, name in enumerate(bench.KINDS, 1)}
    rows = {row.name: row for row in bench.transformer_rows(measured)}
    wall, cpu = rows["ViT 6M, vmap"], rows["ViT 6M, vmap, CPU"]
    assert (wall.seconds, wall.bound_seconds, wall.peer_seconds, wall.peak_mib) == (2, 1, 4, 6)
    assert (cpu.seconds, cpu.bound_seconds, cpu.peer_seconds, cpu.peak_mib) == (4, 2, 8, None)
    assert wall.speedup == 2


def test_hardened_step_learns_from_other_studies_and_its_bound_is_the_step_without() -> None:
    work, steps = bench.transformer(4, TINY), []
    for number in bench.HARDENED:
        model = bench.transformer(4, TINY).model
        hardening = bench.hardening_of(bench.load_config([*TINY, f"training.adversarial.steps={number}"]))
        engine = replace(
            bench._engine("vmap", work, sampling_probability=1.0), noise_multiplier=0.0, hardening=hardening
        )
        steps.append(engine.gradient(model, work.records, work.public))
    assert any(not torch.equal(steps[0][name], steps[1][name]) for name in steps[0])
    bench.hardened_step(1, 4, TINY)()
    wall, cpu = bench.hardened_rows(bench.Measured(1.0, 2.0, None), bench.Measured(3.0, 8.0, None))
    assert (wall.over_bound, cpu.over_bound) == (3.0, 4.0)


def test_kinds_are_measured_in_processes_of_their_own() -> None:
    makers = (
        partial(bench.transformer_step, "ghost", 4, TINY),
        partial(bench.heads_step, 40, ("encoder.embedding_dim=8", "loss.num_anchors=40")),
    )
    for measured in bench.measure(makers, 2):
        assert 0 < measured.wall < 60
        assert measured.cpu > 0
        assert measured.peak_mib is None or measured.peak_mib > 100


def test_nested_steps_are_a_step_of_each_width_and_the_row_is_their_mean() -> None:
    bench.nested_steps(40, ("encoder.embedding_dim=8", "loss.num_anchors=40"))()
    rows = bench.heads_rows(bench.Measured(2.0, 1.0, 3.0), bench.Measured(12.0, 9.0, None))
    assert [(row.seconds, row.bound_seconds) for row in rows] == [(2.0, None), (2.0, 2.0), (1.0, None), (1.5, 1.0)]


def test_step_is_the_same_whenever_its_noise_is_drawn() -> None:
    """Up to the noise: each kind of step takes the model as far."""
    for when in bench.WHEN:
        bench.noisy_step(when, 4, TINY)()
    rows = bench.noisy_rows({when: bench.Measured(n, n, None) for n, when in enumerate(bench.WHEN, 1)})
    assert [(row.name, row.seconds, row.bound_seconds) for row in rows] == [
        ("ViT 6M, noise none", 1, 1),
        ("ViT 6M, noise after", 2, 1),
        ("ViT 6M, noise beside", 3, 1),
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_noise_drawn_beside_a_gradient_on_a_gpu_vanishes_as_far_as_the_gradient_lasts() -> None:
    """The step lasts as long as the longer of the two, and not as both: a fifth of the shorter may be seen."""
    seconds = {}
    for when in bench.WHEN:
        step = bench.noisy_step(when, device="cuda")
        seconds[when] = min(timed(step) for _ in range(6))
    noise = seconds["after"] - seconds["none"]
    hidden = seconds["after"] - seconds["beside"]
    assert hidden > 0.8 * min(noise, seconds["none"])


def timed(step: Callable[[], object]) -> float:
    begun = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - begun
