"""The report in headless Chromium: the figures are drawn, nothing is refused, nothing hostile runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.report.render import Example, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed"),
]


def opened(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's elements after its scripts ran, and what the console said."""
    options = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    options += " --disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=5000"
    command = [str(CHROMIUM), *options.split(), f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def test_figures_are_drawn_and_the_console_is_silent(
    tmp_path: Path, summary: dict[str, Any], rounds: list[dict[str, Any]], examples: list[Example]
) -> None:
    page = write_report(tmp_path / "run", summary, rounds, examples=examples)
    elements, console = opened(page, tmp_path / "profile")
    assert console == []
    # Five curves; seven baselines and their means; the crosses of the weights, over their heat map.
    assert len(re.findall(r'class="trace scatter', elements)) == 5 + 7 + 1 + 1
    assert len(re.findall(r'class="hm"', elements)) == 1


def test_heat_maps_of_a_grid_are_drawn_with_their_numbers(tmp_path: Path, grid_summary: dict[str, Any]) -> None:
    elements, console = opened(write_report(tmp_path / "run", grid_summary, []), tmp_path / "profile")
    assert console == []
    # Two epsilons by one and two attackers, five rules under seven attacks and none; the backdoor against five rules.
    assert len(re.findall(r'class="hm"', elements)) == 4 + 1
    assert len(re.findall(r'class="heatmap-label"', elements)) == 4 * 5 * 8 + 4 * 5


def test_the_console_would_tell(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    page.write_text(f"<!DOCTYPE html>{policy}<script>1</script>", encoding="utf-8")
    assert opened(page, tmp_path / "profile")[1]


def test_hostile_names_do_not_run(tmp_path: Path, summary: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    hostile = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    summary["sites"] = {hostile: summary["sites"]["Harbour"]}
    for line in rounds:
        line["metrics"] = {hostile: line["metrics"]["Harbour"]}
    elements, console = opened(write_report(tmp_path / "run", summary, rounds), tmp_path / "profile")
    assert console == []
    assert "<title>wardround report, 9 July 2026, 14:05 UTC</title>" in elements
    assert elements.count("<img") == 0
