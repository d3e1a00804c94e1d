"""What baselines keep of groups: what sites tell, beside what each got by training alone."""

from __future__ import annotations

from typing import Any

from simulations.scenarios.baseline_groups import FEDERATIONS, START, baseline_groups, with_alone


def kept(group: str, recall: float) -> dict[str, Any]:
    return {"attribute": "sex", "group": group, "num_patients": 40, "recall_at_10": recall, START: 0.2}


def test_group_that_a_repeat_does_not_show_has_no_value_there() -> None:
    without, with_noise, _ = FEDERATIONS
    rows = baseline_groups(
        {without: [[kept("F", 0.5), kept("M", 0.6)], [kept("M", 0.7)]], with_noise: [[kept("M", 0.4)], None]},
        held_out_share=0.2,
    )
    women, men = rows
    assert women["recall_at_10"] == {START: [0.2, None], without: [0.5, None], with_noise: [None, None]}
    assert men["recall_at_10"] == {START: [0.2, 0.2], without: [0.6, 0.7], with_noise: [0.4, None]}
    assert women["held_out_share"] == men["held_out_share"] == 0.2
    assert (women["num_patients"], men["num_patients"]) == ([40, None], [40, 40])


def test_figures_of_training_alone_stand_beside_those_of_the_same_site_and_group() -> None:
    def row(site: str, group: str, *, hidden: bool = False) -> dict[str, Any]:
        shown = {"suppressed": hidden, "metrics": {"recall_at_10": 0.5}, "intervals": {"recall_at_10": [0.4, 0.6]}}
        return {"site": site, "attribute": "sex", "group": group, **shown}

    told = {"recall_at_10": 0.3, "low": 0.2, "high": 0.4}
    hidden = row("north", "O", hidden=True) | {"metrics": None, "intervals": None}
    summary = {"sites": {"north": {}, "south": {}}, "groups": [row("north", "F"), row("south", "F"), hidden]}
    groups = [{"attribute": "sex", "group": group, **told} for group in ("F", "O")]
    with_alone(summary, {"north": {**told, "groups": groups}, "west": {**told, "groups": []}})
    assert summary["sites"] == {"north": {"alone": told}, "south": {}}
    north, south, none = summary["groups"]
    assert north["metrics"] == {"recall_at_10": 0.5, "alone_recall_at_10": 0.3}
    assert north["intervals"]["alone_recall_at_10"] == [0.2, 0.4]
    assert south == row("south", "F")
    assert none["metrics"] is None
