"""A process that prepares is killed at random points: nothing half-made is used, one piece at most is done again."""

from __future__ import annotations

import os
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.policy.site_schema import SiteConfig
from client.store.check import check_whole
from client.store.store import STUDIES_A_STEP, StudyStore
from tests.client.store.conftest import NUM_OWN, CountingEncoder

OpenStore = Callable[[], StudyStore]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("num_kills", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_points_nothing_half_made_is_used_and_one_piece_is_done_again(
    open_store: OpenStore, site: SiteConfig, encoder: CountingEncoder, tmp_path: Path, num_kills: int
) -> None:
    done = tmp_path / "encoded"
    begun = time.monotonic()
    list(open_store().prepare())
    seconds, generator, outcomes = time.monotonic() - begun, np.random.default_rng(0), Counter[bool]()
    for moment in generator.uniform(0, 1.1 * seconds, num_kills):
        shutil.rmtree(site.state_folder)
        done.write_text("")
        kill_after(float(moment), lambda: prepare_noting(open_store, encoder, done))
        prepared = open_store().open()
        outcomes[prepared is None] += 1
        encoder.images.clear()
        encoder.reports.clear()
        list(open_store().prepare())
        images, reports = (done.read_text().split().count(kind) for kind in ("image", "report"))
        assert len(encoder.images) + images <= NUM_OWN + STUDIES_A_STEP
        assert len(encoder.reports) + reports <= NUM_OWN + STUDIES_A_STEP
        if prepared is not None:
            assert not encoder.images
        found = open_store().open()
        assert found is not None
        assert found.images[:][:, 0].tolist() == [float(n) for n in range(NUM_OWN)]
        check_whole(site.state_folder)
        assert len(list((site.state_folder / "prepared").iterdir())) == 5, "nothing is left over"
    assert outcomes[True] > num_kills // 4, "most were killed before the end"


def kill_after(seconds: float, action: Callable[[], None]) -> None:
    """Do something in a process that is killed meanwhile."""
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads; the child encodes a few numbers and is gone.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def prepare_noting(open_store: OpenStore, encoder: CountingEncoder, done: Path) -> None:
    """Prepare, and write down on the disk what was encoded as it is."""
    with done.open("ab", buffering=0) as file:
        for name, word in (("image_features", b"image "), ("report_features", b"report ")):
            real = getattr(encoder, name)

            def noting(items: object, real: Callable[..., object] = real, word: bytes = word) -> object:
                file.write(word * len(items))  # type: ignore[arg-type]
                return real(items)

            setattr(encoder, name, noting)
        list(open_store().prepare())
