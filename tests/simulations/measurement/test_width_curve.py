"""The curve of widths: each width is the first bits of the code, and what is certified is what is found at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.errors import ConfigError
from common.hashing.codes import binarise, unpack
from common.retrieval.evaluation import distinct_reports
from simulations.measurement.drawn import Drawn
from simulations.measurement.width_curve import width_curve
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

WIDTHS = (48, 64)
SETTINGS = (
    "evaluation.code_widths=[48,64]",
    "code.nested_widths=[48]",
    "certificate.deviation=0.2",
    "certificate.num_votes=100",
    "certificate.num_queries=4",
)

Prepared = tuple[RunConfig, Consortium, DualEncoder]


@pytest.fixture(scope="module")
def prepared(tiny_overrides: list[str], quiet_watcher: Any) -> Prepared:
    config = load_config([*tiny_overrides, *SETTINGS])
    return config, *prepare(config, Clock(quiet_watcher))


def test_curve_searches_the_first_bits_alone(prepared: Prepared) -> None:
    """Against distances counted bit by bit and a look-up in plain loops."""
    config, consortium, model = prepared
    held_out, told = consortium.held_out(consortium.sites), []
    found = width_curve(model, held_out, None, config, measured=lambda number, of: told.append((number, of)))
    assert told == [(1, 2), (2, 2)]
    image, report = embed_in_batches(model, held_out.images, held_out.reports)
    chosen, relevant = distinct_reports(held_out.records)
    for bits, one in zip(WIDTHS, found, strict=True):
        assert (one["bits"], one["drawn"]) == (bits, None)
        query, gallery = unpack(binarise(image.code))[:, :bits], unpack(binarise(report.code))[chosen, :bits]
        distances = (query[:, None] != gallery).sum(axis=2)
        radius = one["look_up"]["radius"]
        within = [row[right] <= radius for row, right in zip(distances, relevant, strict=True)]
        recalls = [float(inside.mean()) for inside in within]
        assert one["look_up"]["recall"] == pytest.approx(np.mean(recalls))
        nearer = [float((row[right] < radius).mean()) for row, right in zip(distances, relevant, strict=True)]
        assert np.mean(nearer) < 0.5 <= np.mean(recalls)


def test_certified_is_at_most_what_votes_find(prepared: Prepared) -> None:
    config, consortium, model = prepared
    held_out = consortium.held_out(consortium.sites)
    drawn = Drawn.of(model, held_out, config)
    assert drawn is not None
    for one in width_curve(model, held_out, drawn, config, measured=lambda *_: None):
        tried = one["drawn"]
        assert tried["radius"] == pytest.approx(drawn.smoothing.deviation)  # the largest of the radii
        assert tried["certified_recall_at_10"] <= tried["smoothed_recall_at_10"]
        assert 0 <= tried["certified_first_ten"] <= 1


def test_nothing_is_measured_where_no_width_is_asked_for(prepared: Prepared, tiny_overrides: list[str]) -> None:
    _, consortium, model = prepared
    held_out, config = consortium.held_out(consortium.sites), load_config(tiny_overrides)
    assert width_curve(model, held_out, None, config, measured=lambda *_: None) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.code_widths=[256]", "evaluation.code_widths: 256 is no width of the first bits of a code"),
        ("code.nested_widths=[50]", "code.nested_widths: 50 is no width"),
        ("code.nested_widths=[40]", "give multiples of 8 from 48 to code.bit_width=128"),
    ],
)
def test_widths_that_no_code_has_are_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        load_config([override])


def test_widths_that_centres_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"code\.nested_widths: each must be above code\.num_centres"):
        load_config(["code.nested_widths=[48]", "code.num_centres=64"])
