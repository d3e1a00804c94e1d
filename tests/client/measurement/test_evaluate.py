"""What a site measures: against its own retrieval, and which groups it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from client.measurement.evaluate import LISTED_GROUPS, brief_statistics, full_statistics
from client.measurement.scores import scored_by
from client.site import HeldOut, Site
from common.fairness.scores import BIN_EDGES
from common.types import StudyRecord
from common.wire.update import model_arrays
from server.statistics import check_statistics


def with_held_out(site: Site, *, women: int, men: int) -> Site:
    """Held-out patients, one study each, whose image and report features agree."""
    number = women + men
    features = torch.randn(number, 12, generator=torch.Generator().manual_seed(5))
    records = tuple(StudyRecord(f"s{n}", f"p{n}", f"report {n}", sex="F" if n < women else "M") for n in range(number))
    model = site.model
    model.report_tower.load_state_dict(model.image_tower.state_dict())
    return replace(site, held_out=HeldOut(features, features.clone(), records))


def test_statistics_of_aligned_pairs_are_perfect(tiny_site: Site) -> None:
    site = with_held_out(tiny_site, women=12, men=13)
    found = full_statistics(site, model_arrays(site.model))
    assert found["metrics"]["recall_at_1"] == found["metrics"]["text_to_image_map"] == 1.0
    assert found["intervals"]["recall_at_1"] == [1.0, 1.0]
    assert found["gallery"] == 25
    assert np.isclose(found["chance_recall_at_10"], 10 / 25)


def test_statistics_each_mean_has_its_interval(tiny_site: Site) -> None:
    found = full_statistics(tiny_site, model_arrays(tiny_site.model))
    for means, intervals in (("metrics", "intervals"), ("codes", "code_intervals")):
        assert found[means].keys() == found[intervals].keys()
        assert all(low <= high for low, high in found[intervals].values())


def test_brief_statistics_agree_with_the_full_ones(tiny_site: Site) -> None:
    arrays = model_arrays(tiny_site.model)
    full, brief = full_statistics(tiny_site, arrays), brief_statistics(tiny_site, arrays)
    assert brief == {"brief": full["brief"]}
    assert brief["brief"]["recall_at_10"] == full["metrics"]["recall_at_10"]
    assert brief["brief"]["codes_recall_at_10"] == full["codes"]["recall_at_10"]


def test_statistics_are_repeatable(tiny_site: Site) -> None:
    arrays = model_arrays(tiny_site.model)
    assert full_statistics(tiny_site, arrays) == full_statistics(tiny_site, arrays)


def test_gain_over_the_start_is_that_of_the_groups_together(tiny_site: Site) -> None:
    """Each image is looked up by both models; women and men are all patients, one image each."""
    site = with_held_out(tiny_site, women=12, men=18)
    aligned = model_arrays(site.model)
    generator = np.random.default_rng(3)
    other = {name: generator.standard_normal(array.shape).astype(array.dtype) for name, array in aligned.items()}
    site = replace(site, start=other)
    found = full_statistics(site, aligned)
    before = full_statistics(site, other)["metrics"]["recall_at_10"]
    assert before < found["metrics"]["recall_at_10"] == 1.0
    assert np.isclose(found["difference"]["recall_at_10"], 1.0 - before)
    assert found["difference"]["low"] <= 1.0 - before <= found["difference"]["high"]
    rows = [row for row in found["groups"] if row["attribute"] == "sex"]
    together = sum(row["num_patients"] * row["difference"]["recall_at_10"] for row in rows) / 30
    assert np.isclose(together, found["difference"]["recall_at_10"])
    for row in rows:
        gained = row["metrics"]["recall_at_10"] - row["metrics"]["start_recall_at_10"]
        assert np.isclose(gained, row["difference"]["recall_at_10"])


def test_brief_statistics_tell_the_shown_groups_alone(tiny_site: Site) -> None:
    site = with_held_out(tiny_site, women=12, men=13)
    assert brief_statistics(site, model_arrays(site.model))["brief"]["groups"] == {"sex": {"F": 1.0, "M": 1.0}}
    few = with_held_out(tiny_site, women=10, men=30)
    assert brief_statistics(few, model_arrays(few.model))["brief"]["groups"] == {}


def groups_of(site: Site) -> dict[str, dict[str, object]]:
    rows = full_statistics(site, model_arrays(site.model))["groups"]
    return {row["group"]: row for row in rows if row["attribute"] == "sex"}


def test_groups_large_enough_are_shown(tiny_site: Site) -> None:
    found = groups_of(with_held_out(tiny_site, women=12, men=13))
    assert {name: (row["suppressed"], row["num_patients"]) for name, row in found.items()} == {
        "F": (False, 12),
        "M": (False, 13),
    }


def test_groups_that_are_small_or_derivable_are_hidden_without_numbers(tiny_site: Site) -> None:
    """Ten women are too few; the men alone would give their number away."""
    for row in groups_of(with_held_out(tiny_site, women=10, men=30)).values():
        assert row["suppressed"]
        assert row["num_patients"] is row["metrics"] is row["intervals"] is None


def test_groups_hidden_and_empty_look_the_same(tiny_site: Site) -> None:
    rows = full_statistics(tiny_site, model_arrays(tiny_site.model))["groups"]
    assert [(row["attribute"], row["group"]) for row in rows] == [
        (attribute, group) for attribute, groups in LISTED_GROUPS.items() for group in groups
    ]
    assert all(row["suppressed"] for row in rows)


def test_groups_tell_scores_of_their_attribute_with_intervals(tiny_site: Site) -> None:
    """Exact figures: those of a loop over the group's pairs, each patient counting one."""
    site = with_held_out(tiny_site, women=12, men=13)
    arrays = model_arrays(site.model)
    found = groups_of(site)["F"]
    scores = scored_by(site, arrays)
    above = list(BIN_EDGES).index(0.5) + 1
    right = np.mean([scores.relevant[n, above:].sum() for n in range(12)])
    wrong = np.mean([scores.irrelevant[n, above:].sum() / scores.irrelevant[n].sum() for n in range(12)])
    metrics, intervals = found["metrics"], found["intervals"]
    assert isinstance(metrics, dict)
    assert isinstance(intervals, dict)
    assert np.isclose(metrics["true_positive_rate"], right)
    assert np.isclose(metrics["false_positive_rate"], wrong)
    for name in ("true_positive_rate", "false_positive_rate", "auroc", "calibration_error"):
        low, high = intervals[name]
        assert low <= metrics[name] <= high
    check_statistics(full_statistics(site, arrays))


def test_scores_are_not_told_where_nobody_asks(tiny_site: Site) -> None:
    site = with_held_out(tiny_site, women=12, men=13)
    silent = replace(site.config, fairness=replace(site.config.fairness, scores=[]))
    assert "auroc" not in groups_of(replace(site, config=silent))["F"]["metrics"]  # type: ignore[operator]


def test_group_whose_patients_are_all_alike_is_no_surer_than_they_are_many(tiny_site: Site) -> None:
    """Nor is one of which everything is: all resamples are alike, and the bootstrap has no length."""
    site = with_held_out(tiny_site, women=12, men=13)
    for group, number in (("F", 12), ("M", 13)):
        found = groups_of(site)[group]
        low, high = found["intervals"]["recall_at_1"]  # type: ignore[index]
        wilson = binomtest(number, number).proportion_ci(0.95, method="wilson")
        assert (low, high) == (pytest.approx(wilson.low), 1.0)
    assert full_statistics(site, model_arrays(site.model))["intervals"]["recall_at_1"] == [1.0, 1.0]
