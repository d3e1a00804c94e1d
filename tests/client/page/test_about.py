"""The page about the model: what its folder says, nothing of the hospital, and no folder that is damaged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.mediator.plan_relevance import PlanRelevance
from client.mediator.rules_digest import rules_digest
from client.page.about import About, read_about
from client.page.app import Page
from client.page.link import ByLink
from client.page.reliability_plot import ABOVE, LEFT, SIDE, plot_of
from common.errors import TrustError
from common.model import load_model
from common.model.form import CARD_FILE
from common.retrieval.relevance import Point, QueryKind, Relevance
from tests.client.page.conftest import PORT, Browser, words_of
from tests.client.search.conftest import BIT_WIDTH, NUM_PATIENTS, StandInModel
from tests.common.retrieval.test_relevance import STEPS, curve_with, relevance_with

HOSTILE = "<script>document.title='owned'</script>"
FAR = replace(STEPS[2], farthest=BIT_WIDTH)


def card_with(**more: Any) -> dict[str, Any]:
    """A card as `model export` writes it."""
    site = {"patients_band": "64-127", "epsilon": 3.25, "delta": 1e-4, "rounds_joined": 2}
    group = {"site": "north", "attribute": "age_band", "group": "70+", "recall_at_10": 0.4, "low": 0.3, "high": 0.5}
    card: dict[str, Any] = {
        "model": "a" * 64,
        "why": "This is the final model of the run.",
        "intended_use": "Finding studies.",
        "limits": ["It does not diagnose."],
        "licence": "not stated",
        "data": "manifest",
        "encoder": "scratch",
        "rounds": 2,
        "privacy": {"unit_of_privacy": "patient", "neighboring_relation": "add_or_remove_one"},
        "sites": {"north": site, "south": {**site, "epsilon": None, "delta": None}},
        "groups": [group],
        "served_worse": None,
        "figures_private": True,
        "trained_at": "2026-11-30T12:00:00+00:00",
    }
    return {**card, **more}


def all_kinds() -> Relevance:
    """A relevance with a curve for each kind of search by distance of the stand-in model."""
    kinds = [(query, gallery) for query in (QueryKind.TEXT, QueryKind.IMAGE) for gallery in ("images", "reports")]
    return relevance_with(
        *(curve_with((*STEPS[:2], FAR), query=query, gallery=gallery, bit_width=BIT_WIDTH) for query, gallery in kinds)
    )


def about_with(relevance: Relevance | None, **card: Any) -> About:
    return About(card=card_with(**card), relevance=relevance, bit_width=BIT_WIDTH, source=Path("card.json"))


Opened = Callable[[About | None], Browser]


@pytest.fixture
def opened(page_of: Callable[[], Page]) -> Opened:
    """A browser that came in to a page whose model says this of itself."""

    def made(about: About | None) -> Browser:
        found = Browser(replace(page_of(), about=about), ByLink(port=PORT))
        found.enter()
        return found

    return made


def test_page_about_the_model_says_what_its_folder_says(opened: Opened) -> None:
    answer = opened(about_with(all_kinds())).get("/model")
    words = words_of(answer)
    assert answer.status_code == 200
    assert "60 public studies of 30 patients" in words
    assert "a study of another patient that shares a finding" in words
    assert "Off by 0.020 on average, of the first ten hits by 0.040" in words
    assert "look within 38 bits (held: 91%)" in words
    assert "north 64-127 2 3.25 0.0001" in words
    assert "south 64-127 2 none: not private not told" in words
    assert "north age band 70+ 40% 30% to 50%" in words
    assert answer.text.count("<svg") == 4
    assert "<script" not in answer.text
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert " style=" not in answer.text, "the policy allows no style but that of the page"


def test_page_about_the_model_is_behind_the_door(page_of: Callable[[], Page]) -> None:
    stranger = Browser(replace(page_of(), about=about_with(None)), ByLink(port=PORT))
    assert stranger.get("/model").status_code == 403


def test_what_is_not_known_is_said(opened: Opened) -> None:
    older = words_of(opened(about_with(None)).get("/model"))
    assert "The model's folder does not say" in older
    none = words_of(opened(about_with(Relevance(model="a", why="no public validation"), groups=[])).get("/model"))
    assert "No probability: no public validation. The search shows none." in none
    assert "No figures by group were told." in none
    few = curve_with((), why="too few pairs", points=(), bit_width=BIT_WIDTH)
    assert "Cannot tell: too few pairs." in words_of(opened(about_with(relevance_with(few))).get("/model"))


def test_hostile_card_runs_nothing(opened: Opened) -> None:
    answer = opened(
        about_with(None, why=HOSTILE, limits=[HOSTILE], sites={HOSTILE: card_with()["sites"]["north"]})
    ).get("/model")
    assert "<script" not in answer.text
    assert answer.text.count("&lt;script&gt;") == 3


def test_each_own_hit_is_told_how_sure_it_is(opened: Opened) -> None:
    answer = opened(about_with(all_kinds())).post({"text": "report 3", "gallery": "reports", "k": "5", "alone": "on"})
    words = words_of(answer)
    told = re.findall(r"(\d+) bits apart .*?relevant with ([a-z ]+) (\d+)%", words)
    assert len(told) == answer.text.count("<article") == 5
    assert told[0] == ("0", "at least", "80"), "nearer than any public pair"
    assert [int(percent) for *_, percent in told] == sorted((int(percent) for *_, percent in told), reverse=True)
    assert '<a href="/model">' in answer.text


def by_plan() -> PlanRelevance:
    """What public studies tell of plans among reports."""
    steps = (replace(STEPS[0], nearest=-4, farthest=10, probability=0.8), replace(STEPS[2], nearest=11, farthest=90))
    curve = curve_with(steps, query=QueryKind.PLAN, gallery="reports", bit_width=BIT_WIDTH, within=5)
    return PlanRelevance(rules=rules_digest(), relevance=relevance_with(curve))


def test_hit_of_a_plan_is_told_by_its_rank_shown_recorded_and_drawn(
    page_of: Callable[[], Page], write_studies: Callable[..., object]
) -> None:
    write_studies(NUM_PATIENTS, ("fits", "a", "1.png", "Pneumonia. 501", "F", "50"))
    about = replace(about_with(all_kinds()), by_plan=by_plan())
    page = replace(page_of(), about=about, by_plan=by_plan())
    browser = Browser(page, ByLink(port=PORT))
    browser.enter()
    answer = browser.post({"text": "pneumonia 501", "alone": "on", "gallery": "reports", "k": "5"})
    told = re.findall(r"<h3>(.*?)</h3>.*?(relevant with .*?) <span>.*?>(In|Not in) the 90% set", answer.text, re.DOTALL)
    assert told[0] == ("fits", "relevant with about 80%", "In"), "0 bits apart, and it names what is sought"
    assert {one[1:] for one in told[1:]} == {("relevant with about 10%", "Not in")}
    (record,) = map(
        json.loads, (page.searcher.site.state_folder / "queries/page/queries.jsonl").read_text().splitlines()
    )
    assert record["plan_relevance"] == by_plan().digest
    assert (record["shown"][0]["relevance"]["probability"], record["shown"][0]["rank"]) == (0.8, 0)
    words = words_of(browser.get("/model"))
    assert "A plan among reports." in words
    assert "The 90% set: hits of rank 5 and below (held: 91%)" in words
    by_words = browser.post({"text": "report 3", "alone": "on", "gallery": "reports", "k": "5"})
    assert "relevant with at least 80%" in words_of(by_words), "no rule: by distance, nearer than any public pair"
    assert "the 90% set" not in words_of(by_words)


@pytest.mark.parametrize(
    "about", [None, about_with(None), about_with(Relevance(model="a", why="no public validation"))]
)
def test_no_probability_is_made_up(opened: Opened, about: About | None) -> None:
    answer = opened(about).post({"text": "report 3", "gallery": "reports", "alone": "on"})
    assert "relevant with" not in words_of(answer)
    assert ("cannot be told: no public validation" in words_of(answer)) == (
        about is not None and about.relevance is not None
    )
    assert (opened(about).get("/model").status_code == 404) == (about is None)


def test_points_lie_where_they_belong() -> None:
    points = tuple(Point(told=t, found=f, low=f / 2, high=1.0, num_pairs=n) for t, f, n in ((0, 0, 100), (1, 1, 400)))
    first, last = plot_of(curve_with(points=points, base_rate=0.25)).marks
    assert (first.x, first.y) == (LEFT, ABOVE + SIDE)
    assert (last.x, last.y, last.low, last.high) == (LEFT + SIDE, ABOVE, ABOVE + SIDE / 2, ABOVE)
    assert first.radius < last.radius
    assert plot_of(curve_with(points=points, base_rate=0.25)).base == ABOVE + 0.75 * SIDE
    assert "2 points, from 0% to 100% told; the farthest is 0 points off" in plot_of(curve_with(points=points)).summary


def test_folder_is_read_and_a_damaged_one_refused(exported_model: Path, tmp_path: Path) -> None:
    model = load_model(exported_model)
    about = read_about(exported_model, model)
    assert about is not None
    assert "public studies of 20 patients" in words_of_page(about.page("north"))
    assert read_about(tmp_path, StandInModel()) is None
    with pytest.raises(TrustError, match="the card of another model"):
        read_about(exported_model, StandInModel())
    folder = Path(shutil.copytree(exported_model, tmp_path / "model"))
    (folder / CARD_FILE).write_text(json.dumps({"model": model.digest}))
    damaged = read_about(folder, model)
    assert damaged is not None
    with pytest.raises(TrustError, match=r"card\.json: is damaged"):
        damaged.page("north")
    (folder / CARD_FILE).write_text("{")
    with pytest.raises(TrustError, match=r"card\.json: cannot be read"):
        read_about(folder, model)


def words_of_page(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())
