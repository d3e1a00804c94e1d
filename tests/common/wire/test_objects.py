"""Looks for parts of a message that are not there yet: soon after the first, where Flower waits a second."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app.message import Array, array
from flwr.supercore.constant import PULL_BACKOFF_CAP, PULL_INITIAL_BACKOFF
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectUnavailableError,
    pull_and_inflate_object_from_tree,
    pull_objects,
)
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.superlink.grid import http_grid
from flwr.supernode import start_client_internal

from common.wire.objects import PART_BYTES, SOON, cut_small, look_again_soon


@pytest.fixture
def flowers_own() -> Iterator[None]:
    """Flower's own options before the test and after it."""
    assert pull_objects.__kwdefaults__ is not None
    before = dict(pull_objects.__kwdefaults__)
    yield
    pull_objects.__kwdefaults__.update(before)


def seconds_to_pull(*, looks: int) -> float:
    """Seconds until an object is found that is there at the last of so many looks."""
    left = iter(range(looks - 1))

    def pull(name: str) -> bytes:
        if next(left, None) is not None:
            raise ObjectUnavailableError(name)
        return b"content"

    begin = time.monotonic()
    assert pull_objects(["part"], pull) == {"part": b"content"}
    return time.monotonic() - begin


@pytest.mark.usefixtures("flowers_own")
def test_part_that_comes_a_moment_later_is_found_a_moment_later() -> None:
    assert seconds_to_pull(looks=2) > 0.75 * PULL_INITIAL_BACKOFF, "Flower itself looks soon; this is needed no more"

    look_again_soon()

    assert seconds_to_pull(looks=4) < 0.5 * PULL_INITIAL_BACKOFF


@pytest.mark.usefixtures("flowers_own")
def test_parts_are_waited_for_as_long_as_flower_waits() -> None:
    """A long upload takes more looks than Flower's bound on their number."""
    longest = inspect.signature(pull_objects).parameters["max_time"].default

    look_again_soon()

    assert pull_objects.__kwdefaults__ is not None
    assert pull_objects.__kwdefaults__["max_time"] == longest >= 3600
    assert pull_objects.__kwdefaults__["max_tries_per_object"] is None
    assert pull_objects.__kwdefaults__["backoff_cap"] == SOON["backoff_cap"] < PULL_BACKOFF_CAP


@pytest.mark.parametrize("module", [http_grid, start_client_internal])
def test_flowers_loops_pull_by_that_function_and_say_no_options(module: object) -> None:
    source = inspect.getsource(module)  # type: ignore[arg-type]

    assert vars(module)["pull_objects"] is inflatable_utils.pull_objects
    assert not [option for option in SOON if f"{option}=" in source]


def test_the_other_function_takes_the_options_that_we_pass() -> None:
    assert SOON.keys() <= inspect.signature(pull_and_inflate_object_from_tree).parameters.keys()


def test_arrays_are_cut_so_that_two_parts_cross_a_slow_line_before_flower_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE"
    monkeypatch.setattr(array, name, vars(array)[name])
    values = np.random.default_rng(0).standard_normal(500_000)

    def parts() -> list[int]:
        return [len(part.deflate()) for part in (Array(values).children or {}).values()]

    assert len(parts()) == 1, "Flower itself cuts small; this is needed no more"
    cut_small()
    assert sum(parts()) > values.nbytes
    assert 2 * max(parts()) / 64_000 < 20 < FLOWER_WAITS_SECONDS
    assert max(parts()) < PART_BYTES + 1000


FLOWER_WAITS_SECONDS = inspect.signature(ProtobufClient.__init__).parameters["timeout"].default
