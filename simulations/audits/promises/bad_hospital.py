"""One bad hospital cannot steer or stop a run: everybody tells alike who was asked, admitted and dropped.

The rule's own guarantee is proven and tested elsewhere; here it is looked at whether the run kept to its conditions,
and whether each update that counted is one that its hospital sent.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from common.errors import CheckFailed, TrustError
from common.evidence.log_entries import Kind, LogEntry
from simulations.audits.promises.answers import Check, Promise, checked
from simulations.audits.promises.opened import Opened

_ONLY = (Promise.BAD_HOSPITAL,)
_UPDATE = "update"
"""Name of the record that holds an update."""


def checks(opened: Opened) -> Iterator[Check]:
    """The checks."""
    command = f"wardround audit all {shlex.quote(str(opened.handed.run))}"
    server = [opened.server_log[0]] if opened.server_log else []
    there = [part.path for part in (opened.config, opened.rounds, opened.summary) if part.path.is_file()]
    of_run = [
        ("rule and rounds", _check_rule, there[:2]),
        ("rounds and summary", _check_counts, there[1:]),
    ]
    if not opened.is_simulation:
        of_run.append(("rounds and the server's log", _check_log, [*there[1:2], *server]))
    for name, check, files in of_run:
        yield checked(name, partial(check, opened), promises=_ONLY, files=files, command=command)
    for site in () if opened.is_simulation else opened.sites:
        own = [opened.site_logs[site][0]] if site in opened.site_logs else []
        yield checked(
            f"updates of {site}",
            partial(_check_updates, opened, site),
            promises=_ONLY,
            files=[*own, *server],
            command=command,
        )


def drops(opened: Opened) -> Mapping[str, Mapping[str, int]]:
    """How often each hospital was dropped in the rounds, by reason; nothing where the rounds are not here."""
    found: dict[str, Counter[str]] = {site: Counter() for site in opened.sites}
    for record in opened.rounds.value or ():
        for site, reason in record["dropped"].items():
            found.setdefault(site, Counter())[reason] += 1
    return found


def _check_rule(opened: Opened) -> str:
    """The rule bears a bad hospital, and each round that changed the model had enough hospitals for it."""
    config, rounds = opened.config.needed(), opened.rounds.get()
    rule, borne = config.aggregator.name, config.aggregator.num_byzantine
    if borne < 1:
        raise CheckFailed(f"{opened.config.path}: aggregator.num_byzantine=0: the rule {rule} bears no bad hospital")
    for record in rounds:
        if record["outcome"] == "updated" and len(record["admitted"]) <= 2 * borne:
            raise CheckFailed(
                f"{opened.rounds.path}: round {record['round']}: {len(record['admitted'])} hospitals counted, and a "
                f"rule that bears {borne} needs more than {2 * borne}"
            )
    return f"the rule {rule} bears {borne} bad of {len(opened.sites)} hospitals, and every round had enough for it"


def _check_counts(opened: Opened) -> str:
    """The rounds are numbered without a gap, and give the summary's counts of each hospital."""
    rounds, summary, path = opened.rounds.get(), opened.summary.needed(), opened.rounds.path
    numbers = [record["round"] for record in rounds]
    if numbers != list(range(1, len(rounds) + 1)) or len(rounds) != summary["rounds_completed"]:
        raise CheckFailed(f"{path}: does not have the {summary['rounds_completed']} rounds that the summary counts")
    for record in rounds:
        admitted, dropped = set(record["admitted"]), set(record["dropped"])
        if admitted & dropped or not admitted | dropped <= set(record["asked"]):
            raise CheckFailed(f"{path}: round {record['round']}: names hospitals that were not asked, or both ways")
    joined = Counter(site for record in rounds for site in record["admitted"])
    dropped_of = drops(opened)
    for site, said in summary["sites"].items():
        if said["rounds_joined"] != joined[site] or said["drops"] != dict(dropped_of.get(site, {})):
            raise CheckFailed(f"{opened.summary.path}: counts other rounds and drops of {site} than {path.name} has")
    times = sum(sum(reasons.values()) for reasons in dropped_of.values())
    return (
        f"{len(rounds)} rounds; {joined.total()} updates counted, and {times} replies were dropped for stated reasons"
    )


def _check_log(opened: Opened) -> str:
    """The server's signed log admitted and dropped whom the rounds name."""
    path, trail = opened.log_of_server()
    told = _told(opened.of_run(trail))
    for record in opened.rounds.needed():
        number = record["round"]
        admitted, dropped = told.get(number, ({}, {}))
        if set(admitted) != set(record["admitted"]) or set(dropped) != set(record["dropped"]):
            raise TrustError(f"{opened.rounds.path}: round {number}: names others than {path} has in its entries")
    return f"{len(told)} rounds in the log, which names the same hospitals"


def _told(entries: list[LogEntry]) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """Admitted and dropped by round, of the last time that it was opened: a server that was killed asks anew."""
    found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for entry in entries:
        if entry.kind is Kind.ROUND_OPENED:
            found[int(str(entry.fields["round"]))] = ({}, {})
        elif entry.kind in {Kind.UPDATE_ADMITTED, Kind.UPDATE_DROPPED}:
            admitted, dropped = found.setdefault(int(str(entry.fields["round"])), ({}, {}))
            of = admitted if entry.kind is Kind.UPDATE_ADMITTED else dropped
            of[str(entry.fields["site"])] = entry.content
    return found


def _check_updates(opened: Opened, site: str) -> str:
    """Each update that the server counted as this hospital's is one that its own log released."""
    server, told = opened.log_of_server()
    path, trail = opened.log_of(site)
    released = {
        (entry.fields["round"], entry.content)
        for entry in opened.of_run(trail)
        if entry.kind is Kind.RELEASE and entry.fields["release"] == _UPDATE
    }
    counted = [
        entry for entry in opened.of_run(told) if entry.kind is Kind.UPDATE_ADMITTED and entry.fields["site"] == site
    ]
    for entry in counted:
        if (entry.fields["round"], entry.content) not in released:
            raise TrustError(f"{server}: entry {entry.number}: counts an update of {site} that {path} never released")
    return f"{len(counted)} updates counted, each as {site} released it"
