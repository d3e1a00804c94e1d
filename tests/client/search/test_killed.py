"""A process that indexes or withdraws is killed at random points: the old index or the new one, never a part."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter

import numpy as np
import pytest

import client.search.build
from client.policy.site_schema import SiteConfig
from client.search.audit import audit_index
from client.search.build import build, withdraw
from client.search.generation import search_folder
from tests.client.search.conftest import NUM_PATIENTS, StandInModel, opened
from tests.client.store.test_killed import kill_after


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("num_kills", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_points_the_index_is_the_old_or_the_new_one(
    site: SiteConfig, model: StandInModel, monkeypatch: pytest.MonkeyPatch, num_kills: int
) -> None:
    monkeypatch.setattr(client.search.build, "STUDIES_A_PART", 4)
    monkeypatch.setattr(client.search.build, "_STUDIES_A_BATCH", 2)
    build(site, model)
    begun = time.monotonic()
    act(site, 0)
    seconds, generator, outcomes = time.monotonic() - begun, np.random.default_rng(0), Counter[int]()
    for number, moment in enumerate(generator.uniform(0, 1.1 * seconds, num_kills), start=1):
        shutil.rmtree(search_folder(site))
        build(site, model)
        kill_after(float(moment), lambda number=number: act(site, number))
        for check in audit_index(search_folder(site), key=None)[1]:
            assert check.error is None
        num_studies = len(opened(site, model))
        outcomes[num_studies] += 1
        assert num_studies in {NUM_PATIENTS, NUM_PATIENTS + 1}
        (site.data.root / f"touched-again-{number}").touch()
        assert build(site, model).num_studies == num_studies, "what was withdrawn stays so"
        assert len([path for path in search_folder(site).iterdir() if path.is_dir()]) == 1, "nothing is left over"
    assert outcomes[NUM_PATIENTS + 1] > num_kills // 4, "some were killed before the end"


def act(site: SiteConfig, number: int) -> None:
    """Index a folder that has changed, and withdraw a study."""
    (site.data.root / f"touched-{number}").touch()
    build(site, StandInModel())
    withdraw(site, studies=["second"])
