"""A hospital's folder with its site.yaml, and a run that its policy allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import time
from typing import Any

import pytest

from client.policy.interface import ReleaseRequest, RunRequest
from common.config.load import config_digest
from common.config.schema import RunConfig
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.update import ArrayPlan

EVENT = SampledGaussian(noise_multiplier=1.5, sampling_probability=0.1, steps=2)
ARRAYS = ArrayPlan({"image_tower.linear.weight": ((4, 3), "float32"), "hash_head.weight": ((8,), "float32")})
HEADER = ("study_id", "patient_id", "image_path", "report", "sex", "age")

SiteYaml = dict[str, Any]
Rows = Sequence[Sequence[str]]


@pytest.fixture
def run_request(run_config: RunConfig) -> Callable[..., RunRequest]:
    """A run that every rule of `site_yaml` lets pass, unless a field says otherwise."""

    def make(**changes: Any) -> RunRequest:
        request = RunRequest(
            config=run_config,
            config_digest=config_digest(run_config),
            bundle_hash=None,
            events=(EVENT,),
            rounds=2,
            patients_band="64-127",
            cohort=None,
            arrays=ARRAYS,
            device="cpu",
            local_time=time(12),
        )
        return replace(request, **changes)

    return make


@pytest.fixture
def release_request() -> Callable[..., ReleaseRequest]:
    """A reply with a private update and noised counts."""

    def make(**changes: Any) -> ReleaseRequest:
        request = ReleaseRequest(
            releases=(
                Release(name="site", mechanism=Mechanism.PUBLIC),
                Release(name="update", mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT, ledger_entry="e" * 64),
            ),
            arrays=ARRAYS,
            least_cell=None,
        )
        return replace(request, **changes)

    return make
