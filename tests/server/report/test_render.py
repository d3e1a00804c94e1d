"""The page: whole, self-contained, escaped, and silent about what it does not know."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from server.report.render import Example, render, write_report
from tests.server.report.fair_summary import fair_summary

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


class Page(HTMLParser):
    """Elements, attributes and visible text of a page, read by Python's own parser."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.text = ""
        self._within: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect an element."""
        self.elements.append((tag, dict(attrs)))
        self._within = tag if tag in {"script", "style"} else self._within
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style sheet."""
        self._within = None if tag in {"script", "style"} else self._within

    def handle_data(self, data: str) -> None:
        """Collect text, and scripts apart from it."""
        if self._within is None:
            self.text += data
        elif self._within == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of that name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def headings(self) -> list[str | None]:
        """Identifiers of the sections."""
        return [attributes.get("id") for attributes in self.all("h2")]


def make_hostile(value: Any) -> Any:
    """The same JSON with every free string and every site name hostile."""
    if isinstance(value, dict):
        return {key + HOSTILE if key[0].isupper() else key: make_hostile(member) for key, member in value.items()}
    if isinstance(value, list):
        return [make_hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_page_says_what_shared_findings_find_and_how_bits_are_used(summary: dict[str, Any]) -> None:
    text = Page(render(summary, [])).text
    assert "mAP 61.7% by embedding and 58.8% by code" in text
    assert "58.3% and 55.1%" in text
    assert "at most 0.2: 21.0% is surely still found, and at most 17.3 bits flip on average (28.9 counted" in text
    assert "87.4% balanced, 0.96 bits of information" in text


def test_page_shows_what_attacked_images_find(summary: dict[str, Any]) -> None:
    text = Page(render(summary, [])).text
    assert "100 held-out images, each changed in 20 gradient steps" in text
    assert re.search(r"away from the own code \(HAG\)\s*13\.7%\s*51\.0%\s*40\.40?\s*91\.0%\s*0\.87", text)
    summary["pooled"]["attacked"] = None
    assert "changed to mislead" not in Page(render(summary, [])).text


def test_every_section_is_there(summary: dict[str, Any], rounds: list[dict[str, Any]], examples: list[Example]) -> None:
    page = Page(render(summary, rounds, examples=examples))
    assert page.headings == [
        "part", "curves", "counted", "retrieval", "examples", "groups", "privacy", "baselines", "data", "record"
    ]  # fmt: skip
    assert "Held-out studies shown; simulation on this machine only" in page.text
    assert "fewer than 11 patients" in page.text
    assert "the image file is missing" in page.text
    assert page.text.count("neighbouring relation: add or remove one") >= 4
    assert summary["config_digest"] in page.text


def test_sections_without_content_are_left_out(summary: dict[str, Any]) -> None:
    summary |= {"pooled": None, "baselines": None, "data": None, "model": None, "groups": [], "fairness": {}}
    for site in summary["sites"].values():
        site |= {"metrics": None, "codes": None, "epsilon": None, "delta": None}
    html = render(summary, [])
    page = Page(html)
    assert page.headings == ["part", "counted", "privacy", "record"]
    assert page.scripts == []
    assert len(html) < 100_000


def test_a_run_that_failed_before_any_site_still_has_a_report(summary: dict[str, Any]) -> None:
    summary |= {"status": "failed", "reason": "no site joined", "sites": {}, "pooled": None, "baselines": None}
    summary |= {"groups": [], "fairness": {}, "rounds_completed": 0, "model_digest": None, "data": None}
    assert "The run failed after no rounds of twelve: no site joined." in Page(render(summary, [])).text


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_numbers_that_are_missing_are_dashes(summary: dict[str, Any], missing: float | None) -> None:
    def blank(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: blank(member) for name, member in value.items()}
        if isinstance(value, list):
            return [blank(item) for item in value]
        return missing if isinstance(value, float) else value

    target = summary["privacy"]["target_epsilon"]
    summary = blank(summary)
    summary["privacy"]["target_epsilon"] = target
    text = Page(render(summary, [])).text
    assert not re.search(r"\b(nan|inf|None|null|Undefined)\b", text)
    assert "\N{EN DASH}" in text


def test_the_page_fetches_nothing(
    summary: dict[str, Any], rounds: list[dict[str, Any]], examples: list[Example]
) -> None:
    page = Page(render(summary, rounds, examples=examples))
    assert not page.all("link")
    assert not page.all("iframe")
    addresses = [a[name] for _, a in page.elements for name in ("src", "href", "srcset", "action") if name in a]
    assert len(addresses) == 12
    assert all(address and address.startswith("data:image/png;base64,") for address in addresses)
    style = render(summary, []).partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import", style)


def test_the_policy_names_exactly_the_scripts_of_the_page(
    summary: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    page = Page(render(summary, rounds))
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    code = [text for kind, text in page.scripts if kind is None]
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in code]
    assert policy.partition("script-src ")[2].split() == digests
    assert len(code) == 2


def test_hostile_names_and_texts_stay_text(
    summary: dict[str, Any], rounds: list[dict[str, Any]], examples: list[Example]
) -> None:
    fixed = {key: summary[key] for key in ("schema_version", "status", "engine", "started_at")}
    hostile = make_hostile(summary) | fixed | {"reason": HOSTILE}
    shown = [
        Example(
            example.query_image,
            HOSTILE,
            HOSTILE,
            tuple(replace(r, report=HOSTILE, site=HOSTILE) for r in example.results),
        )
        for example in examples
    ]
    plain = Page(render(summary, rounds, examples=examples))
    attacked = Page(render(hostile, make_hostile(rounds), examples=shown))
    assert HOSTILE in attacked.text
    for tag in ("script", "img"):
        assert len(attacked.all(tag)) == len(plain.all(tag))
    assert not [a for _, a in attacked.elements if any(name.startswith("on") for name in a)]
    data = [text for kind, text in attacked.scripts if kind == "application/json"]
    assert data
    assert not any("<" in text for text in data)


def test_every_number_without_noise_is_marked(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    def marks(html: str) -> tuple[int, int]:
        page = Page(html)
        classes = [attributes.get("class") for attributes in page.all("span")]
        return classes.count("badge"), page.text.count("(not private)")

    badges, figures = marks(render(summary, rounds))
    # 12 retrieval rows of 7 figures in 2 directions; 3 figures a site and 2 beside its price; 23 group cells, their
    # shares, 2 x (worst, gap).
    assert figures == 2 * 12 * 7 + 5 * 5 + 2 * 23 + 4
    assert badges >= 8
    summary["not_private"] = []
    for site in summary["sites"].values():
        site["private"] = True
    assert marks(render(summary, rounds))[1] == 0


def test_chance_of_the_curves_is_that_of_the_hospitals_own_galleries(
    summary: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    figures = [text for kind, text in Page(render(summary, rounds)).scripts if kind == "application/json"]
    assert json.loads(figures[0])["layout"]["shapes"][0]["y0"] == pytest.approx(10 / 84)


def test_tables_and_pictures_can_be_read_aloud(
    summary: dict[str, Any], rounds: list[dict[str, Any]], examples: list[Example]
) -> None:
    page = Page(render(summary, rounds, examples=examples))
    assert page.all("html") == [{"lang": "en-GB"}]
    assert len(page.all("h1")) == 1
    assert all(th.get("scope") in {"row", "col"} for th in page.all("th"))
    assert all(img.get("alt") for img in page.all("img"))
    plots = [a for a in page.all("div") if a.get("class") == "plot"]
    assert len(plots) == 3
    assert all(plot.get("role") == "img" and plot.get("aria-label") for plot in plots)


def test_grid_of_attacks_comes_first_and_names_the_rule_that_holds(grid_summary: dict[str, Any]) -> None:
    html = render(grid_summary, [])
    page = Page(html)
    assert page.headings[0] == "robustness"
    assert page.text.count("ARC + NNM + trimmed mean holds: it keeps at least 94%") == 1
    assert len([a for a in page.all("div") if a.get("class") == "plot"]) == 4 + 1
    figures = [json.loads(text) for kind, text in page.scripts if kind == "application/json"]
    assert len(figures) == 5
    for tried in ("ALIE", "Sign flip", "Backdoor"):
        assert page.text.count(f"\n{tried}") + page.text.count(tried) > 4


def test_refusal_of_a_rule_is_shown_with_its_reason(grid_summary: dict[str, Any]) -> None:
    for cell in grid_summary["robustness"]["cells"]:
        if (cell["rule"], cell["num_byzantine"]) == ("krum", 2):
            cell |= {"refusal": "needs seven updates", "kept": None, "recall_at_10": None}
    text = Page(render(grid_summary, [])).text
    assert "Krum refused: needs seven updates" in text
    assert "refuses" in text


def test_weights_are_in_the_table_beside_their_figure(summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    rounds[0]["weights"]["Harbour"] = 0.1234
    text = Page(render(summary, rounds)).text
    assert "12.3%" in text
    assert "3 sent numbers that are not finite" in " ".join(text.split())


def test_report_is_written_whole(
    tmp_path: Path, summary: dict[str, Any], rounds: list[dict[str, Any]], examples: list[Example]
) -> None:
    path = write_report(tmp_path / "run", summary, rounds, examples=examples)
    assert path == tmp_path / "run" / "report.html"
    assert path.read_text(encoding="utf-8") == render(summary, rounds, examples=examples)


def test_first_screen_answers_three_questions_and_what_the_gate_decided(rounds: list[dict[str, Any]]) -> None:
    check = {"name": "max_gap", "attribute": "sex", "bound": 0.1, "site": "all hospitals", "group": "F", "against": "M"}
    figure = {"value": 0.15, "low": 0.12, "high": 0.18, "num_compared": 2, "answer": "fails"}
    gate = {"reason": "the model must not be published: so it is", "accept_cannot_tell": False}
    summary = fair_summary() | {"release": {"decision": "withheld", **gate, "checks": [{**check, **figure}]}}
    page = Page(render(summary, rounds))
    first = page.text[: page.text.index("Who took part")]
    for question in ("Who is served worst?", "How sure are we?", "What did it cost?"):
        assert question in first
    assert "; it must not be published" in first
    assert "No group far below another: sex: fails; F lies 15.0 points below M (12.0 to 18.0), at most 10.0" in first
    assert "model withheld" in first
    section = page.text[page.text.index("May the model be published?") :]
    assert "F lies 15.0 points below M (12.0 to 18.0)" in section
    assert "at most 10.0 points" in section
    summary["release"] |= {"decision": "passed", "reason": None}
    summary["release"]["checks"][0]["answer"] = "holds"
    page = Page(render(summary, rounds))
    assert "One fairness check holds: the model may be published." in page.text
    assert "withheld" not in page.text


def test_fairness_section_reads_out_each_table(rounds: list[dict[str, Any]]) -> None:
    text = " ".join(Page(render(fair_summary(), rounds)).text.split())
    for told in (
        "Over time",
        "Sex: the gap was 15.0 points",
        "Who gains, who loses, who pays",
        "Of five hospitals one (Harbour +8.0 points, +2.0 to +14.0) gained over the public start",
        "Whose patients they are",
        "F make up from 30.0%",
    ):
        assert told in text
    assert "Alone" not in text, "nobody trained alone in this run"
    summary = fair_summary()
    summary["sites"]["Harbour"]["alone"] = {"recall_at_10": 0.4, "low": 0.3, "high": 0.5}
    assert "Over training alone" in Page(render(summary, rounds)).text


def test_fairness_section_shows_no_hidden_group(rounds: list[dict[str, Any]]) -> None:
    """Race has too few patients: its groups are named as hidden, and in no other table."""
    text = Page(render(fair_summary(), rounds)).text
    section = text[text.index("Who is served worse") :]
    assert "Too few patients to be shown at any hospital: Asian and White." in section
    assert section.count("Asian") == section.count("White") == 1
