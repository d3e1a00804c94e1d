"""What a cell of `--scenario fairness` turns on, and what is refused before a study is read."""

from __future__ import annotations

import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.losses.composition import terms_of
from simulations.scenarios.remedies import NONE, REMEDIES, SCORE_LEVEL, Cell, cells_of, check_remedies

FIGURES = {"northgate": 0.4}


def config(*overrides: str) -> RunConfig:
    return load_config(overrides, scenario="fairness")


def test_cells_are_each_remedy_at_each_epsilon_the_untreated_first() -> None:
    cells = cells_of(config("remedies.names=[weight,none,weight]", "remedies.epsilons=[8,null]"))
    assert [(cell.epsilon, cell.remedy) for cell in cells] == [(8, NONE), (8, "weight"), (None, NONE), (None, "weight")]


def test_untreated_cell_is_the_same_run_without_any_mitigation() -> None:
    plain = load_config(["mitigation.emphasis_by=sampling"], scenario="fairness")
    untreated = Cell(None, NONE).changed(plain, FIGURES)
    assert untreated.mitigation.emphasis == untreated.mitigation.shares == untreated.mitigation.site_recall == {}
    assert SCORE_LEVEL not in untreated.loss.name
    assert untreated.privacy.epsilon is None
    assert plain.mitigation.emphasis  # what was handed in stays


@pytest.mark.parametrize("name", sorted(REMEDIES))
def test_each_remedy_turns_on_its_own_part_alone(name: str) -> None:
    given = config()
    found = Cell(8.0, name).changed(given, FIGURES)
    on = {
        "sampling": found.mitigation.emphasis == given.mitigation.emphasis
        and found.mitigation.emphasis_by == "sampling",
        "weight": found.mitigation.emphasis == given.mitigation.emphasis and found.mitigation.emphasis_by == "weight",
        "site_weights": found.mitigation.site_recall == FIGURES,
        "score_level": found.loss.name == f"{given.loss.name}+score_level",
        "tone": found.encoder.tone == "equalised",
        "words": found.encoder.words == "public",
        "adversary": found.mitigation.adversary_weight == given.mitigation.adversary_weight,
    }
    assert [one for one, is_on in on.items() if is_on] == [name]


def test_joined_remedies_are_both_on() -> None:
    found = Cell(None, "weight+score_level").changed(config(), FIGURES)
    assert found.mitigation.emphasis
    assert SCORE_LEVEL in terms_of(found.loss)
    assert not found.mitigation.site_recall


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["remedies.names=[]"], r"remedies\.names: empty"),
        (["remedies.epsilons=[]"], r"remedies\.epsilons: empty"),
        (["remedies.names=[wieght]"], r"remedies\.names: wieght: unknown; did you mean weight"),
        (["remedies.names=[weight+none]"], r"remedies\.names: none: unknown"),
        (["remedies.group=Blck"], r"remedies\.group=Blck: no group of race; did you mean Black"),
        (
            ["loss.weights.score_level=0"],
            r"score_level: has no strength; give loss\.weights\.score_level",
        ),
        (["encoder.tone=recorded"], r"tone: has no strength; give encoder\.tone"),
        (["privacy.noise=shared"], r"mitigation\.site_recall: noise that hospitals share"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(overrides: list[str], words: str) -> None:
    given = config(*overrides)
    with pytest.raises(ConfigError, match=words):
        check_remedies(given)
