"""Marginals: the groups of a run follow from its config, and every study is in one group of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.load import load_config
from common.config.schema import FairnessConfig
from common.errors import ConfigError
from common.fairness.marginals import marginals_of
from common.types import StudyRecord


def config_of(*overrides: str) -> FairnessConfig:
    return load_config([f"fairness.{override}" for override in overrides]).fairness


CROSSED = marginals_of(config_of("intersections=[race*sex]"))


def test_groups_are_those_of_the_config() -> None:
    config = config_of(
        "attributes=[sex,race,scanner]", "races=[Asian]", "scanners=[Alpha,Beta]", "intersections=[sex*race]"
    )
    marginals = marginals_of(config)
    assert [marginal.name for marginal in marginals] == ["sex", "race", "scanner", "sex*race"]
    assert marginals[0].groups == ("F", "M", "O", "unknown")
    assert marginals[1].groups == ("Asian", "other", "unknown")
    assert marginals[2].groups == ("Alpha", "Beta", "other", "unknown")
    assert marginals[3].groups[:4] == ("F * Asian", "F * other", "F * unknown", "M * Asian")


@pytest.mark.parametrize(
    ("fields", "groups"),
    [
        ({"sex": "F", "age": 17, "race": "asian "}, ["F", "0-17", "Asian", "F * 0-17"]),
        ({"sex": "M", "age": 80, "race": "Martian"}, ["M", "80+", "other", "M * 80+"]),
        ({}, ["unknown", "unknown", "unknown", "unknown * unknown"]),
    ],
)
def test_study_is_in_the_group_that_its_fields_say(fields: dict[str, object], groups: list[str]) -> None:
    record = StudyRecord("s", "p", "report", **fields)  # type: ignore[arg-type]
    marginals = marginals_of(config_of("races=[Asian]"))
    assert [marginal.groups[marginal.group_of(record)] for marginal in marginals] == groups


@given(
    sex=st.sampled_from(["F", "M", "O", None]),
    age=st.one_of(st.none(), st.integers(0, 120)),
    race=st.one_of(st.none(), st.text(max_size=5)),
)
def test_group_of_an_intersection_has_the_groups_of_its_attributes(
    sex: str | None, age: int | None, race: str | None
) -> None:
    record = StudyRecord("s", "p", "report", sex=sex, age=age, race=race)
    marginals = {marginal.name: marginal for marginal in CROSSED}
    crossed = marginals["race*sex"]
    parts = crossed.parts_of(crossed.group_of(record))
    assert parts == (marginals["race"].group_of(record), marginals["sex"].group_of(record))


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("attributes=[sex,hat]", "hat: unknown"),
        ("attributes=[sex,sex]", "twice"),
        ("attributes=[sex,age_band,scanner]", "name them in fairness.scanners"),
        ("intersections=[sex*sex]", "write two of"),
        ("intersections=[sex]", "write two of"),
        ("intersections=[sex*scanner]", "write two of"),
        ("intersections=[sex*race,sex*race]", "twice"),
    ],
)
def test_config_without_sense_is_refused_when_it_is_read(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_config(["evaluation.epsilon=1", "fairness.epsilon=1", "fairness.scores=[]", f"fairness.{override}"])


def test_language_of_the_report_is_an_attribute_like_others() -> None:
    (marginal,) = marginals_of(config_of("attributes=[language]", "languages=[English,Spanish]", "intersections=[]"))
    told = [StudyRecord("s", "p", "report", language=language) for language in ("english", "Welsh", None)]
    assert [marginal.groups[marginal.group_of(record)] for record in told] == ["English", "other", "unknown"]
    with pytest.raises(ConfigError, match=r"fairness\.languages"):
        marginals_of(config_of("attributes=[language]", "intersections=[]"))


def test_groups_need_figures_with_noise() -> None:
    with pytest.raises(ConfigError, match=r"need evaluation\.epsilon"):
        load_config(["fairness.epsilon=1"])
