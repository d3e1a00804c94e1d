"""What a hospital looks at before it approves a bundle: gathered here, and shown as tables or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.check import display
from client.check.dry_run import DryRun, dry_run
from client.check.readiness import Progress
from client.data.anchor_folder import digest_of_anchors
from client.deploy.approval import Approval
from client.policy.hours import hours_of
from client.policy.site_config import anchor_folder
from client.policy.site_policy import Approved
from client.policy.site_schema import SiteConfig
from common.bundle import Bundle
from common.code_digest import code_digest
from common.config.diff import Difference, differences
from common.config.load import load_config
from common.device import check_device
from common.errors import ConfigError, DataError
from common.trust.display import spoken

UNUSED = ("data.", "workers", "policy.", "attack.", "baselines.", "robustness.", "encoder.cache")
"""Keys of a run that say nothing to a hospital: its own site.yaml does, or they are for simulations."""

_KEY_SHOWN = 32
"""Digits of a key that people compare: half of it."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """What there is to see.

    Attributes:
        bundle: The bundle.
        last: The hospital's last approval; None where this would be the first.
        installed_code: Digest of the wardround that is installed here.
        anchors: Digest of the public studies that lie here; None where there are none.
        anchors_problem: Why the run cannot use them; None where it can.
        from_base: How its configuration differs from that which wardround comes with.
        from_last: How it differs from the one that was approved last; None without one.
        checks: Data, policy and budget, as of `wardround site check`.
    """

    bundle: Bundle
    last: Approval | None
    installed_code: str
    anchors: str | None
    anchors_problem: str | None
    from_base: tuple[Difference, ...]
    from_last: tuple[Difference, ...] | None
    checks: DryRun

    @property
    def epsilon_alone(self) -> float:
        """The same if every hospital that noise is shared with told the server what it knows."""
        return max(outlook.cost_alone for outlook in self.checks.budget.outlooks)

    @property
    def epsilon(self) -> float:
        """Most that the run spends of any patient; a patient is trained on or held out, never both."""
        return max(outlook.cost for outlook in self.checks.budget.outlooks)


def review(
    site: SiteConfig,
    bundle: Bundle,
    *,
    last: tuple[Approval, Bundle] | None,
    progress: Progress,
    cohort: tuple[str, ...] | None = None,
) -> Review:
    """Look at a bundle as the site's configuration, data and budget are now. Nothing is written or spent.

    Args:
        site: The hospital's own configuration.
        bundle: What was sent.
        last: What was approved last.
        progress: Called with the number of studies read so far.
        cohort: Bands of all sites, where the hospital was told them.

    Raises:
        ConfigError: The run cannot be private as its config asks, or its device is not here.
        DataError: The hospital's data cannot be read at all.
        LedgerError: The ledger is damaged.
    """
    check_device(bundle.config.device)
    anchors, problem = _anchors_here(site, bundle)
    return Review(
        bundle=bundle,
        last=None if last is None else last[0],
        installed_code=code_digest(),
        anchors=anchors,
        anchors_problem=problem,
        from_base=differences(load_config(), bundle.config),
        from_last=None if last is None else differences(last[1].config, bundle.config),
        checks=dry_run(
            site,
            bundle.config,
            local_time=_when_it_may(site),
            progress=progress,
            approval=Approved(bundle=bundle.hash, run=bundle.run),
            cohort=cohort,
        ),
    )


def _anchors_here(site: SiteConfig, bundle: Bundle) -> tuple[str | None, str | None]:
    """What the public studies here are called, and why the run cannot use them."""
    folder = anchor_folder(site)
    try:
        here = digest_of_anchors(folder)
    except (ConfigError, DataError) as error:
        return None, f"the public studies: {error}"
    if here == bundle.anchors:
        return here, None
    return here, (
        f"{folder.root}: holds other public studies than the run was made with; get those of the coordinating centre, "
        "and name their folder in anchors.root"
    )


def _when_it_may(site: SiteConfig) -> time:
    """A time of day at which runs are allowed: a run is approved at any hour, and each round is asked about again."""
    hours = hours_of(site.training.hours)
    return datetime.now().astimezone().time() if hours is None else hours.start


def as_json(found: Review) -> dict[str, Any]:
    """The review as one JSON object; it holds exact counts and is the hospital's own."""
    return {
        "bundle": {"hash": found.bundle.hash, **asdict(found.bundle.facts)},
        "installed_code": found.installed_code,
        "anchors": found.anchors,
        "anchors_problem": found.anchors_problem,
        "last_approved": None if found.last is None else found.last.bundle,
        "differs_from_base": _differences_as_json(found.from_base),
        "differs_from_last": None if found.from_last is None else _differences_as_json(found.from_last),
        "epsilon": found.epsilon,
        "epsilon_alone": found.epsilon_alone,
        **display.as_json(found.checks),
    }


def _differences_as_json(found: Sequence[Difference]) -> list[dict[str, Any]]:
    return [{**asdict(difference), "used_here": is_used(difference.key)} for difference in found]


def is_used(key: str) -> bool:
    """Whether a key of a run says anything to a hospital."""
    return not key.startswith(UNUSED)


def show(found: Review, site: SiteConfig, console: Console) -> None:
    """Print the tables; data, rules and budget last, with what stands against the run."""
    tables = [
        _bundle_table(found),
        *_cohort_tables(found.bundle),
        _differences_table("Differs from base.yaml", "base", found.from_base),
    ]
    if found.last is not None and found.from_last is not None:
        title = f"Differs from the bundle approved on {found.last.time[:10]}"
        tables.append(_differences_table(title, "then", found.from_last))
    for table in tables:
        console.print(table)
        console.print()
    display.show(found.checks, site, console)
    if found.anchors_problem is not None:
        console.print(f"{display.WRONG}: {escape(found.anchors_problem)}", highlight=False)
    console.print(f"Bundle, to compare by telephone: {spoken(found.bundle.hash)}", soft_wrap=True, highlight=False)


def _bundle_table(found: Review) -> Table:
    table = _table("The bundle", "what", "found", "")
    for what, text, mark in _bundle_rows(found):
        table.add_row(what, escape(text), mark)
    return table


def _bundle_rows(found: Review) -> Iterator[tuple[str, str, str]]:
    bundle = found.bundle
    yield "run", f"{bundle.config.federation.rounds} rounds, config digest {bundle.run}", ""
    yield "made with", ", ".join(f"{name} {version}" for name, version in bundle.facts.versions.items()), ""
    same = bundle.code == found.installed_code
    yield (
        "code",
        "as installed here" if same else f"{bundle.code}, here is {found.installed_code}",
        (display.FINE if same else display.REMARK),
    )
    mark = display.FINE if found.anchors_problem is None else display.WRONG
    yield "public studies", bundle.anchors if found.anchors_problem is None else "not here", mark
    yield "epsilon", f"{found.epsilon:.3f} of a patient at most", ""
    privacy = bundle.config.privacy
    if privacy.cohort:
        most = privacy.most_colluding
        yield "", f"with shared noise, if at most {most} of the hospitals below told the server what it knows", ""
        yield "", f"{found.epsilon_alone:.3f} if all of them did", ""


def _cohort_tables(bundle: Bundle) -> Iterator[Table]:
    """Who shares noise: a name or key that no other hospital knows is the server's own invention."""
    if not bundle.facts.cohort:
        return
    table = _table("Shares noise: compare the keys with the other hospitals", "hospital", "band", "key", "")
    for name, key in sorted(bundle.facts.cohort.items()):
        table.add_row(name, bundle.config.privacy.cohort[name], spoken(key[:_KEY_SHOWN]), "")
    yield table


def _differences_table(title: str, before: str, found: Sequence[Difference]) -> Table:
    table = _table(title, "key", before, "here", "")
    for difference in found:
        values = (escape(json.dumps(value)) for value in (difference.before, difference.after))
        table.add_row(difference.key, *values, "" if is_used(difference.key) else "[dim]unused here[/dim]")
    if not found:
        table.add_row("nothing", "", "", "")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
