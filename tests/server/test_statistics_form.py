"""What a site says it measured: what the sites' own code sends passes, and what could stop a report does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from common.errors import AdmissionError
from common.fairness.groups import ATTRIBUTES
from server.statistics import check_statistics

METRICS = {"recall_at_10": 0.5, "mrr": 0.25}
SHOWN = {
    "attribute": "sex",
    "group": "F",
    "suppressed": False,
    "num_patients": 14,
    "metrics": METRICS,
    "intervals": {"recall_at_10": [0.4, 0.6]},
}
HIDDEN = {
    "attribute": "sex",
    "group": "M",
    "suppressed": True,
    "num_patients": None,
    "metrics": None,
    "intervals": None,
}
FULL: dict[str, Any] = {
    "brief": {"recall_at_10": 0.5, "codes_recall_at_10": 0.4, "groups": {"sex": {"F": 0.5}}},
    "difference": {"recall_at_10": 0.1, "low": -0.1, "high": 0.3},
    "metrics": METRICS,
    "intervals": {"recall_at_10": [0.4, 0.6]},
    "codes": METRICS,
    "code_intervals": {"recall_at_10": [0.4, 0.6]},
    "groups": [SHOWN, HIDDEN],
    "gallery": 40,
    "chance_recall_at_10": 0.25,
}

Change = Callable[[dict[str, Any]], object]


def test_full_and_brief_statistics_pass() -> None:
    check_statistics(FULL)
    check_statistics({"brief": FULL["brief"]})


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_attribute_that_sites_know_may_be_told(attribute: str) -> None:
    brief = {**FULL["brief"], "groups": {attribute: {"one": 0.5}}}
    check_statistics({**FULL, "brief": brief, "groups": [{**SHOWN, "attribute": attribute}]})


def test_statistics_of_a_real_run_pass(finished_run: Any) -> None:
    for found in (*finished_run.state.start.values(), *finished_run.state.latest.values()):
        check_statistics(found)
        assert "metrics" in found


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("brief"),
        lambda found: found["brief"].pop("recall_at_10"),
        lambda found: found["brief"].update(recall_at_10="high"),
        lambda found: found["brief"].update(recall_at_10=1.5),
        lambda found: found.pop("groups"),
        lambda found: found.update(note="patient 7"),
        lambda found: found.update(groups={}),
        lambda found: found["metrics"].pop("recall_at_10"),
        lambda found: found["metrics"].update(recall_at_10=None),
        lambda found: found["intervals"].update(recall_at_10=[0.4]),
        lambda found: found["groups"][0].pop("metrics"),
        lambda found: found["groups"][0].update(site="another site"),
        lambda found: found["groups"][0].update(attribute="postcode"),
        lambda found: found["groups"][1].update(num_patients=3),
        lambda found: found.update(gallery=-1),
        lambda found: found.update(gallery=10**4000),
        lambda found: found["brief"].update(recall_at_10=float("nan")),
        lambda found: found["groups"][0]["intervals"].update(recall_at_10=[0.1, float("nan")]),
        lambda found: found["groups"][0].update(group="\ud800"),
        lambda found: found["metrics"].update({"\udfff": 0.5}),
    ],
)
def test_statistics_of_another_form_are_malformed(change: Change) -> None:
    found = copy.deepcopy(FULL)
    change(found)
    with pytest.raises(AdmissionError, match=r"^malformed$"):
        check_statistics(found)
