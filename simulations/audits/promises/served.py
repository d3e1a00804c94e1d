"""Who is served worse is visible: figures by group are in the summary, add up, hide small groups, and are shown.

The figures themselves are what hospitals told; whether a hospital measured right, no file tells.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from common.errors import CannotTell, CheckFailed
from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import of_all_sites
from server.report.render import render
from server.report.summary import REPORT_FILE
from simulations.audits.promises.answers import Check, Promise, checked
from simulations.audits.promises.opened import Opened
from simulations.audits.promises.parts import MIB, part_of

_ONLY = (Promise.SERVED,)
_SCRIPT = re.compile(r"<script(?![^>]*application/json)[^>]*>.*?</script>|script-src [^\"]*", re.DOTALL)
"""Plotly's own code and its digest, which another version of Plotly changes; figures are JSON, and stay."""


def checks(opened: Opened) -> Iterator[Check]:
    """The checks."""
    command, summary = f"wardround audit all {shlex.quote(str(opened.handed.run))}", opened.summary.path
    report = opened.handed.run / REPORT_FILE
    there = [path for path in (summary,) if path.is_file()]
    yield checked("form of the summary", partial(_check_form, opened), promises=_ONLY, files=there, command=command)
    yield checked("figures by group", partial(_check_groups, opened), promises=_ONLY, files=there, command=command)
    if not opened.is_simulation:
        files = [*there, *([report] if report.is_file() else [])]
        yield checked("report", partial(_check_report, opened), promises=_ONLY, files=files, command=command)


def _check_form(opened: Opened) -> str:
    summary = opened.summary.get()
    run = opened.run
    if run is not None and summary["config_digest"] != run:
        raise CheckFailed(f"{opened.summary.path}: is of another run than config.yaml")
    return f"as its schema asks, of run {summary['config_digest'][:12]}, {summary['status']}"


def _check_groups(opened: Opened) -> str:
    """Groups below the least number are hidden, and the gaps are those of the groups that are shown."""
    summary, path = opened.summary.needed(), opened.summary.path
    groups: Sequence[dict[str, Any]] = summary["groups"]
    if not groups:
        raise CannotTell(f"{path}: the run told no figures by group (fairness.epsilon was not set)")
    least = summary.get("least_group", 0)
    for group in groups:
        where = f"{path}: {group['attribute']} {group['group']} at {group['site']}"
        if group["suppressed"] and group.get("metrics"):
            raise CheckFailed(f"{where}: is hidden, and its figures stand in the file")
        if not group["suppressed"] and group["num_patients"] is not None and group["num_patients"] < least:
            raise CheckFailed(f"{where}: is shown with {group['num_patients']} patients, fewer than {least}")
    again = fairness_of(of_all_sites(groups))
    for attribute, found in again.items():
        told = summary["fairness"].get(attribute)
        if told is None or not math.isclose(told["gap"], found["gap"], abs_tol=1e-9) or _worst(told) != _worst(found):
            raise CheckFailed(f"{path}: states another gap or group served worst by {attribute} than its groups give")
    shown = [group for group in groups if not group["suppressed"]]
    return f"{len(shown)} of {len(groups)} groups are shown, the others have fewer than {least} patients; gaps add up"


def _worst(found: Mapping[str, Any]) -> tuple[str, str]:
    worst = found["worst_group"] or {"site": "", "group": ""}
    return worst["site"], worst["group"]


def _check_report(opened: Opened) -> str:
    """The page that people read shows what the summary holds: made again, it is the same page."""
    path = opened.handed.run / REPORT_FILE
    page = part_of(path, lambda named: named.read_bytes(), most_bytes=64 * MIB).get()
    summary, rounds = opened.summary.needed(), opened.rounds.needed()
    try:
        again = render(summary, rounds)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CannotTell(f"{path}: cannot be made again from summary and rounds, which do not fit together") from error
    if _without_scripts(again) == _without_scripts(page.decode(errors="replace")):
        return "report.html is the page that summary.json and rounds.jsonl give"
    wrote, here = summary["versions"]["wardround"], version("wardround")
    if wrote != here:
        raise CannotTell(f"{path}: was written by wardround {wrote}, and {here} cannot make the same page again")
    raise CheckFailed(f"{path}: is not the page that summary.json and rounds.jsonl give; it was changed")


def _without_scripts(page: str) -> str:
    return _SCRIPT.sub("", page)
