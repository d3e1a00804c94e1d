"""The form of a table: what it holds, in which order, and how far one patient moves it."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("override", "problem"),
    [("scores=[race,hat]", "hat: not in"), ("scores=[sex,sex]", "twice"), ("scores=[sex*age_band]", r"set it to \[\]")],
)
def test_scores_of_no_attribute_are_refused_when_the_config_is_read(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"fairness\.scores: .*{problem}"):
        load_config(["evaluation.epsilon=1", "fairness.epsilon=1", f"fairness.{override}"])


@pytest.mark.parametrize(("scores", "deviation"), [("[]", 5.7), ("[sex]", 8.5), ("[sex,age_band]", 10.6)])
def test_scores_cost_noise_in_every_count(scores: str, deviation: float) -> None:
    """The figures of decision 0034; with eight vectors the Gaussian is tighter than the Laplace."""
    noise = group_noise_of(load_config(["evaluation.epsilon=1", "fairness.epsilon=1", f"fairness.scores={scores}"]))
    assert noise is not None
    assert noise.variance**0.5 == pytest.approx(deviation, abs=0.05)
