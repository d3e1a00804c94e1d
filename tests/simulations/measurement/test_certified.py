"""Certified retrieval of a model: no more than is found, less with a larger radius, and the same again."""

from __future__ import annotations

from typing import Any

import pytest

from client.site import HeldOut
from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.errors import ConfigError
from simulations.measurement.certified import certified_metrics
from simulations.measurement.drawn import Drawn
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

SETTINGS = ("certificate.deviation=0.2", "certificate.num_votes=100", "certificate.num_queries=4")


@pytest.fixture(scope="module")
def prepared(tiny_overrides: list[str], quiet_watcher: Any) -> tuple[RunConfig, Consortium, DualEncoder]:
    config = load_config([*tiny_overrides, *SETTINGS])
    return config, *prepare(config, Clock(quiet_watcher))


def drawn_of(model: DualEncoder, held_out: HeldOut, config: RunConfig) -> Drawn:
    drawn = Drawn.of(model, held_out, config)
    assert drawn is not None
    return drawn


def test_certified_figures_are_in_order_and_repeat(prepared: tuple[RunConfig, Consortium, DualEncoder]) -> None:
    config, consortium, model = prepared
    held_out = consortium.held_out(consortium.sites)
    found, again = (certified_metrics(drawn_of(model, held_out, config), config) for _ in range(2))
    assert found == again
    assert found["queries"] == 4
    assert len(found["radii"]) == 3
    recalls = [found["recall_at_10"], *(at["recall_at_10"] for at in found["radii"])]
    flips = [at["most_flips"] for at in found["radii"]]
    assert recalls == sorted(recalls, reverse=True)
    assert 0 < flips[0] <= flips[1] <= flips[2] <= 128
    assert 0 < found["sensitivity"]["mean"] <= found["sensitivity"]["largest"]


def test_nothing_is_certified_where_no_noise_is_configured(
    prepared: tuple[RunConfig, Consortium, DualEncoder], tiny_overrides: list[str]
) -> None:
    _, consortium, model = prepared
    config = load_config(tiny_overrides)
    assert Drawn.of(model, consortium.held_out(consortium.sites), config) is None


@pytest.mark.parametrize(
    "override",
    ["certificate.radii=[]", "certificate.radii=[0.0]", "certificate.deviation=0", "certificate.num_votes=3"],
)
def test_settings_out_of_range_are_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="certificate"):
        load_config([override])
