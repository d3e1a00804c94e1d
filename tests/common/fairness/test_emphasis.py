"""How much each group counts, from the config alone."""

from __future__ import annotations

import pytest

from common.config.load import load_config
from common.errors import ConfigError
from common.fairness.emphasis import emphasis_of, mean_emphasis
from common.types import StudyRecord


def study(race: str | None) -> StudyRecord:
    return StudyRecord("s", "p", "text", race=race)


def test_without_emphasis_everybody_counts_alike() -> None:
    config = load_config(["mitigation.shares={White: 0.5}"])
    assert emphasis_of(config) is None
    assert mean_emphasis(config) == 1.0


def test_a_study_counts_as_its_group_is_named() -> None:
    found = emphasis_of(load_config(["mitigation.emphasis={White: 0.3, other: 0.5, unknown: 0.2}"]))
    assert found is not None
    races = ("White", "white ", "Black", "Samoan", None)
    assert [found.of(study(race)) for race in races] == [0.3, 0.3, 1.0, 0.5, 0.2]


def test_any_attribute_can_be_told_apart() -> None:
    found = emphasis_of(load_config(["mitigation.attribute=age_band", "mitigation.emphasis={0-17: 0.1, 80+: 0.4}"]))
    assert found is not None
    ages = (3, 40, 90, None)
    assert [found.of(StudyRecord("s", "p", "text", age=age)) for age in ages] == [0.1, 1.0, 0.4, 1.0]


@pytest.mark.parametrize(
    ("shares", "mean"),
    [
        ("{}", 1.0),
        ("{White: 0.5}", 0.5 * 0.2 + 0.5),
        ("{White: 0.5, Black: 0.25}", 0.5 * 0.2 + 0.5),
        ("{White: 0.5, other: 0.5}", 0.5 * 0.2 + 0.5 * 0.4),
    ],
)
def test_mean_is_over_the_public_shares(shares: str, mean: float) -> None:
    """Whoever is of no group whose share is given counts in full."""
    config = load_config(["mitigation.emphasis={White: 0.2, other: 0.4}", f"mitigation.shares={shares}"])
    assert mean_emphasis(config) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["mitigation.emphasis={Blakc: 0.5}"], r"mitigation\.emphasis\.Blakc: no group of race; did you mean Black"),
        (["mitigation.emphasis={Black: 0.5}", "mitigation.shares={Whit: 0.5}"], r"mitigation\.shares\.Whit: no group"),
        (["mitigation.emphasis={Black: 0}"], r"mitigation\.emphasis\.Black=0\.0: out of range"),
        (["mitigation.emphasis={Black: 1.5}"], r"mitigation\.emphasis\.Black=1\.5: out of range"),
        (["mitigation.emphasis={Black: .nan}"], r"mitigation\.emphasis\.Black=nan: out of range"),
        (["mitigation.shares={Black: -1}"], r"mitigation\.shares\.Black=-1\.0: out of range"),
        (["mitigation.emphasis={Black: 0.5}", "mitigation.shares={White: 0.8, Black: 0.3}"], r"add up to 1\.1"),
        (["mitigation.attribute=hair"], r"mitigation\.attribute=hair: unknown"),
        (["mitigation.emphasis_by=luck"], r"mitigation\.emphasis_by=luck: unknown"),
        (["mitigation.emphasis=0.5"], r"mitigation\.emphasis=0\.5: wrong type; it takes numbers by name"),
        (["mitigation.site_recall={a: 0.5}", "privacy.noise=shared"], r"mitigation\.site_recall: noise that hospitals"),
    ],
)
def test_a_wrong_config_is_one_line_that_names_the_key(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        load_config(overrides)
    assert "\n" not in str(refused.value)
