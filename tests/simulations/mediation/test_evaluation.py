"""The figures are those of the plans: right plans score one, wrong ones what they miss."""

import csv
import json
import os
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

import wardround
from client.mediator.plan import Ages, AskBack, Asked, Dates, Modality, Plan, Sex, Span
from common.errors import PlanError
from common.terminology.coded import Coded
from common.terminology.concepts import concepts
from common.terminology.modifiers import modality
from simulations.attacks.queries import suite
from simulations.mediation import evaluate_cli, queries
from simulations.mediation.evaluation import evaluate
from simulations.mediation.queries import SPLITS, right_plans

WHY = (Span(0, 1),)
RIGHT = right_plans()


class Reader:
    """Proposes what the right plans say, but for what a test changes."""

    name = "reader"

    def __init__(self, *, swaps_denied: bool = False, forgets: frozenset[str] = frozenset()) -> None:
        self.swaps_denied, self.forgets = swaps_denied, forgets

    def propose(self, query: str) -> Plan:
        """The right plan of a query."""
        right = next(one for one in RIGHT if one.query == query)
        lists: dict[str, list[Asked]] = {"wanted": [], "excluded": [], "anatomy": []}
        for part, code in sorted(right.concepts):
            if code.startswith("none:") or code in self.forgets:
                continue
            swapped = {"wanted": "excluded", "excluded": "wanted"}.get(part, part) if self.swaps_denied else part
            asked = Asked(
                concept=coded(code),
                laterality=right.sides.get(code, ""),
                uncertain=code in right.uncertain,
                history=code in right.past,
                why=WHY,
            )
            lists[swapped].append(asked)
        said = right.circumstances
        dates = [day and date.fromisoformat(day) for day in said["dates"] or ()]
        return Plan(
            text="",
            **{part: tuple(asked) for part, asked in lists.items()},
            modality=tuple(Modality(code=code, why=WHY) for code in said["modality"]),
            sex=said["sex"] and Sex(value=said["sex"], why=WHY),
            age=said["age"] and Ages(least=said["age"][0], most=said["age"][1], why=WHY),
            dates=dates and Dates(first=dates[0], last=dates[1], why=WHY),
            ask_back=tuple(AskBack(choices=tuple(map(coded, sorted(codes))), why=WHY) for codes in right.ask_back),
        )


class Mute:
    """Has a plan for nothing."""

    name = "mute"

    def propose(self, query: str) -> Plan:
        """None."""
        raise PlanError(query)


def coded(code: str) -> Coded:
    scheme, _, rest = code.partition(":")
    return modality(rest) if scheme == "DCM" else concepts().by_code[scheme, rest].coded


def test_right_plans_score_one_but_for_what_has_no_code() -> None:
    for split, scored in evaluate(Reader(), RIGHT).items():
        unknown = sum(code.startswith("none:") for one in RIGHT if one.split == split for _, code in one.concepts)
        assert scored.precision.value == 1.0
        assert scored.recall.num_all - scored.recall.num_right == unknown
        assert scored.negation.value == 1.0
        assert {share.value for share in scored.details.values()} == {1.0}
        assert scored.acronyms.value == 1.0


def test_plans_that_hear_no_negation_lose_it_and_no_more() -> None:
    for scored in evaluate(Reader(swaps_denied=True), RIGHT).values():
        assert scored.negation.value == 0.0
        assert scored.details["circumstances_accuracy"].value == 1.0


def test_f1_is_that_of_a_hand_count() -> None:
    right = [one for one in RIGHT if one.query == "pleural effusion, left-sided"]
    both = [*right, next(one for one in RIGHT if one.query == "meningioma never operated, not postoperative")]
    split = {one.split for one in both}
    forgetful = Reader(forgets=frozenset({"SCT:60046008"}))
    found = evaluate(forgetful, both)
    total = sum(found[name].recall.num_right for name in split), sum(found[name].recall.num_all for name in split)
    assert total == (2, 3)
    assert [found[name].concept_f1 for name in split if found[name].recall.num_all == 1] in ([0.0], [])


def test_mute_proposer_scores_nothing_and_is_counted() -> None:
    for scored in evaluate(Mute(), RIGHT).values():
        assert (scored.concept_f1, scored.negation.value, scored.acronyms.value) == (0.0, 0.0, 0.0)
        assert scored.refused == scored.num_queries


def test_queries_are_300_in_halves_with_every_kind_in_both() -> None:
    assert len({one.query_id for one in RIGHT}) == len({one.query for one in RIGHT}) == len(RIGHT) == 300
    assert Counter(one.split for one in RIGHT) == {"develop": 150, "held": 150}
    kinds = [{one.kind for one in RIGHT if one.split == split} for split in SPLITS]
    assert kinds[0] == kinds[1]
    rows = [json.loads(line) for line in lines()]
    assert all(row["rule"] and row["source"] and row["checked"] in {"by hand", "by rule"} for row in rows)
    assert not {code for one in RIGHT for _, code in one.concepts if not code.startswith("none:") and not is_code(code)}


def lines() -> list[str]:
    return (Path(queries.__file__).parent / "queries.jsonl").read_text(encoding="utf-8").splitlines()


def is_code(code: str) -> bool:
    try:
        return bool(coded(code))
    except KeyError:
        return False


def test_no_text_of_the_pack_is_in_the_queries() -> None:
    folder = os.environ.get("WARDROUND_DATA")
    table = Path(folder or ".") / "medpix2" / "metadata.csv"
    if not table.is_file():
        pytest.skip("needs WARDROUND_DATA with medpix2")
    with table.open(encoding="utf-8", newline="") as file:
        captions = " ".join({row["text"] for row in csv.DictReader(file)}).lower()
    for one in RIGHT:
        words = one.query.lower().split()
        runs = [" ".join(words[at : at + 6]) for at in range(len(words) - 5)]
        assert not [run for run in runs if run in captions], one.query


def evaluated(*arguments: str) -> str:
    result = CliRunner().invoke(wardround.cli, ["mediator", "evaluate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_command_prints_the_figures_of_the_held_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_cli, "attacks", lambda: suite.attacks(per_kind=1))
    monkeypatch.setattr(evaluate_cli, "NUM_LEGITIMATE", 10)
    printed = json.loads(evaluated("--json"))
    held = printed["splits"]["held"]
    assert list(printed)[:6] == [
        *("concept_f1", "negation_accuracy", "acronym_accuracy"),
        *("attacks", "accepted_unsupported", "refused_legitimate"),
    ]
    assert (printed["attacks"], printed["accepted_unsupported"]) == (len(suite.KINDS), 0)
    assert printed["refused_legitimate"] == 0.0
    assert [printed[name] for name in list(printed)[:3]] == [held[name] for name in list(printed)[:3]]
    assert 0.85 <= printed["concept_f1"] <= 1.0
    assert printed["negation_accuracy"] >= 0.95
    assert printed["acronym_accuracy"] >= 0.9
    assert "lexical" in evaluated()
