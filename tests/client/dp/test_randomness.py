"""Sampling and noise of the system never repeat, in no process; from a key or a seed they do."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch

from client.dp.randomness import (
    KeystreamRandomness,
    Randomness,
    SeededRandomness,
    SystemRandomness,
    poisson_sample,
)
from common.errors import CheckFailed
from common.privacy import keystream
from common.privacy.keystream import Keystream

KEY = b"randomness: one fixed key of all"


def seeded() -> SeededRandomness:
    return SeededRandomness(torch.Generator().manual_seed(3))


SOURCES: dict[str, Callable[[], Randomness]] = {
    "system": SystemRandomness,
    "keystream": lambda: KeystreamRandomness(KEY),
    "seeded": seeded,
}


# What is fresh


def keys_of(randomness: Randomness, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the operating system gave for three samples and three noises."""
    given: list[bytes] = []
    urandom = os.urandom

    def spy(size: int) -> bytes:
        given.append(urandom(size))
        return given[-1]

    with monkeypatch.context() as patch:
        patch.setattr(keystream.os, "urandom", spy)
        for _ in range(3):
            randomness.participants(10, 0.5)
            randomness.noise(4, standard_deviation=1.0).added_to(torch.zeros(4))
    return given


def test_system_randomness_takes_a_key_of_256_bits_for_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = keys_of(SystemRandomness(), monkeypatch)
    assert [len(key) for key in keys] == [32] * 6
    assert len(set(keys)) == 6


def test_one_key_for_all_calls_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys_of(KeystreamRandomness(KEY), monkeypatch) == []


def repeats(randomness: Randomness, num_calls: int) -> int:
    seen = {
        randomness.noise(4, standard_deviation=1.0).added_to(torch.zeros(4)).numpy().tobytes() for _ in range(num_calls)
    }
    return num_calls - len(seen)


def test_system_randomness_never_repeats_noise() -> None:
    assert repeats(SystemRandomness(), 2000) == 0


def test_system_randomness_samples_anew_each_time() -> None:
    one, other = SystemRandomness(), SystemRandomness()
    draws = [tuple(source.participants(200, 0.5).tolist()) for source in (one, one, other)]
    assert len(set(draws)) == 3


def noise_of_parent_and_child(randomness: Randomness) -> tuple[bytes, bytes]:
    """The next noise of a process and of one that it forks, both from the same object."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads; the child only draws and leaves.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.write(writing, randomness.noise(8, standard_deviation=1.0).added_to(torch.zeros(8)).numpy().tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    parent = randomness.noise(8, standard_deviation=1.0).added_to(torch.zeros(8)).numpy().tobytes()
    drawn = os.read(reading, 32)
    os.close(reading)
    os.close(writing)
    return parent, drawn


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_process_has_noise_of_its_own() -> None:
    source = SystemRandomness()
    source.noise(8, standard_deviation=1.0).added_to(torch.zeros(8))
    parent, child = noise_of_parent_and_child(source)
    assert len(parent) == len(child) == 32
    assert parent != child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_stream_is_caught() -> None:
    source = KeystreamRandomness(KEY)
    source.noise(8, standard_deviation=1.0).added_to(torch.zeros(8))
    parent, child = noise_of_parent_and_child(source)
    assert parent == child


# What is repeated on purpose


@pytest.mark.parametrize("name", ["keystream", "seeded"])
def test_test_sources_repeat_in_sequence(name: str) -> None:
    first, second = SOURCES[name](), SOURCES[name]()
    draws = []
    for _ in range(2):
        assert torch.equal(first.participants(50, 0.4), second.participants(50, 0.4))
        draws.append(first.noise(5, standard_deviation=2.0).added_to(torch.ones(5)))
        assert torch.equal(draws[-1], second.noise(5, standard_deviation=2.0).added_to(torch.ones(5)))
    assert not torch.equal(*draws)


# What every source keeps to


@pytest.mark.parametrize("name", SOURCES)
def test_probability_zero_and_one_are_exact(name: str) -> None:
    source = SOURCES[name]()
    assert not source.participants(1000, 0.0).any()
    assert source.participants(1000, 1.0).all()
    assert source.participants(0, 0.5).shape == (0,)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_noised_keeps_the_shape_in_float32(name: str, shape: tuple[int, ...]) -> None:
    total = torch.ones(shape, dtype=torch.float64)
    noised = SOURCES[name]().noise(total.numel(), standard_deviation=0.1).added_to(total)
    assert (noised.shape, noised.dtype) == (torch.Size(shape), torch.float32)


@pytest.mark.parametrize("name", SOURCES)
def test_noised_without_deviation_is_the_total(name: str) -> None:
    total = torch.tensor([0.25, -7.0])
    assert torch.equal(SOURCES[name]().noise(2, standard_deviation=0.0).added_to(total), total)


@pytest.mark.parametrize("name", ["system", "keystream"])
def test_noised_refuses_what_is_not_finite(name: str) -> None:
    with pytest.raises(CheckFailed):
        SOURCES[name]().noise(2, standard_deviation=1.0).added_to(torch.tensor([1.0, float("nan")]))


# Poisson sampling


class Words(Keystream):
    """A stream of given 64-bit words."""

    def __init__(self, *words: int) -> None:
        super().__init__(bytes(32))
        self._words = np.array(words, dtype=np.uint64)

    def uint64(self, count: int) -> npt.NDArray[np.uint64]:
        """See `Keystream`."""
        return self._words[:count]


@pytest.mark.parametrize("probability", [0.5, 0.3, 2**-64, 1 - 2**-53, 1e-30])
def test_poisson_sample_compares_with_the_probability_rounded_down(probability: float) -> None:
    """The number of 64-bit words that join is at most the probability times 2^64, and more than one below it."""
    exact = Fraction(probability) * 2**64
    joining = int(exact)
    assert joining <= exact < joining + 1
    words = [word for word in (joining - 1, joining) if word >= 0]
    chosen = poisson_sample(len(words), probability, Words(*words)).tolist()
    assert chosen == [word < joining for word in words]


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_poisson_sample_refuses_what_is_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="within 0 and 1"):
        poisson_sample(3, probability, Keystream.fresh())
