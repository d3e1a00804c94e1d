"""The form of a table: what it holds, in which order, and how far one patient moves it."""

from __future__ import annotations

import numpy as np
import pytest

from common.config.load import load_config
from common.errors import ConfigError
from common.fairness.scores import NUM_BINS
from common.fairness.table import table_of
from common.privacy.held_out import group_noise_of


def test_vectors_follow_one_another_and_make_the_whole() -> None:
    form = table_of(load_config(["fairness.scores=[age_band,sex]"]).fairness)
    assert [marginal.name for marginal in form.marginals] == ["sex", "age_band", "race", "sex*age_band"]
    assert [marginal.name for marginal in form.scored] == ["age_band", "sex"]
    sizes = [4 * 4, 6 * 4, 6 * 4, 24 * 4, *[6 * NUM_BINS] * 2, *[4 * NUM_BINS] * 2]
    assert [vector.stop - vector.start for vector in form.vectors] == sizes
    assert form.vectors[0].start == 0
    assert all(one.stop == other.start for one, other in zip(form.vectors, form.vectors[1:], strict=False))
    assert (form.num_counts, form.num_groups, form.num_vectors) == (sum(sizes), 40, 8)
    women = form.scores_of(0)
    assert women is not None
    assert [women[kind].start for kind in (0, 1)] == [form.vectors[kind].start for kind in (6, 7)]
    assert form.scores_of(10) is None, "race"


def test_ranks_come_last_and_are_of_whom_the_final_model_finds() -> None:
    form = table_of(load_config(["fairness.ranks=[race,sex]"]).fairness)
    assert form.num_vectors == 4 + 2 + 2
    assert [vector.stop - vector.start for vector in form.vectors[-2:]] == [6 * 7, 4 * 7]
    women = form.ranks_of(0)
    assert women is not None
    assert (women.start, women.stop) == (form.vectors[-1].start, form.vectors[-1].start + 7)
    assert form.ranks_of(4) is None, "age"
    assert form.vectors[-1].stop == form.num_counts
    rng = np.random.default_rng(0)
    told = form.onto_consistent_NN @ rng.normal(50, 9, form.num_counts)
    for group in (0, 3, 10):
        ranks, (both, _, final_only, _) = told[form.ranks_of(group)], told[form.cells_of(group)]
        assert ranks[:5].sum() == pytest.approx(both + final_only)
        assert ranks.sum() == pytest.approx(told[form.cells_of(group)].sum())
    by_sex, by_race = (told[vector].reshape(-1, 7).sum(axis=0) for vector in form.vectors[-2:])
    assert by_sex == pytest.approx(by_race)


@pytest.mark.parametrize(
    ("override", "problem"),
    [("[race,hat]", "hat: not in"), ("[sex,sex]", "twice"), ("[sex*age_band]", r"set it to \[\]")],
)
def test_scores_and_ranks_of_no_attribute_are_refused_when_the_config_is_read(override: str, problem: str) -> None:
    for key in ("scores", "ranks"):
        with pytest.raises(ConfigError, match=rf"fairness\.{key}: .*{problem}"):
            load_config(["evaluation.epsilon=1", "fairness.epsilon=1", f"fairness.{key}={override}"])


@pytest.mark.parametrize(
    ("scores", "ranks", "deviation"),
    [("[]", "[]", 5.7), ("[sex]", "[]", 8.5), ("[sex]", "[sex]", 9.9), ("[sex,age_band]", "[]", 10.6)],
)
def test_scores_and_ranks_cost_noise_in_every_count(scores: str, ranks: str, deviation: float) -> None:
    """The figures of decision 0034; with eight vectors the Gaussian is tighter than the Laplace."""
    told = ["evaluation.epsilon=1", "fairness.epsilon=1", f"fairness.scores={scores}", f"fairness.ranks={ranks}"]
    noise = group_noise_of(load_config(told))
    assert noise is not None
    assert noise.variance**0.5 == pytest.approx(deviation, abs=0.05)
