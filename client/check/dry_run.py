"""The dry run behind `wardround site check`: the data, each rule's verdict, and the budget after the run.

It reads and adds up; it writes nothing, and a ledger that is not there yet is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time

from client.check.budget import BudgetCheck, check_budget
from client.check.contact_sheet import ContactSheet
from client.check.line import LineTime
from client.check.planned import PlannedArrays, planned_arrays, planned_events
from client.check.readiness import Progress, Readiness, examine
from client.policy.interface import RunRequest, Verdict
from client.policy.site_policy import Approved, policy_of
from client.policy.site_schema import SiteConfig
from common.config.load import config_digest
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.privacy.bands import delta_for
from common.privacy.forecast import Forecast, forecast_known
from common.privacy.plan import check_shared_noise, privacy_plan


@dataclass(frozen=True, kw_only=True)
class RunCheck:
    """What the policy says of a run.

    Attributes:
        config_digest: Digest to approve in `training.config_digests`.
        verdicts: Of each rule.
    """

    config_digest: str
    verdicts: Sequence[Verdict]

    @property
    def refusals(self) -> list[Verdict]:
        """The verdicts that refuse."""
        return [verdict for verdict in self.verdicts if verdict.refusal is not None]


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Everything that a hospital wants to know before it joins.

    Attributes:
        site: The hospital's name.
        readiness: Its data.
        problems: Why data or budget cannot be used as they are; none where they can.
        run: The policy's verdicts; None without a run.
        budget: Before and after the run.
        forecast: Whether noise will drown the run; None without one, or where it is not private.
        line: What a round moves; None without a run, or where its encoder's weights are not here.
    """

    site: str
    readiness: Readiness
    problems: tuple[str, ...]
    run: RunCheck | None
    budget: BudgetCheck
    forecast: Forecast | None
    line: LineTime | None


def dry_run(
    site: SiteConfig,
    run: RunConfig | None,
    *,
    local_time: time,
    progress: Progress,
    sheet: ContactSheet | None = None,
    approval: Approved | None = None,
    cohort: tuple[str, ...] | None = None,
) -> DryRun:
    """Examine the data, ask each rule, and add up the budget.

    Args:
        site: The hospital's own configuration.
        run: The run that it may join, or None.
        local_time: Time of day at which the run would start.
        progress: Called with the number of studies read so far.
        sheet: Takes a few of the studies for people to look at.
        approval: The run's approval, as if it were given.
        cohort: Bands of all sites, this one's among them, where the hospital was told them.

    Raises:
        ConfigError: The run cannot be private as its config asks, or the cohort is without this hospital's band.
        DataError: The data cannot be read at all.
        LedgerError: The ledger is damaged.
    """
    readiness = examine(site.data, progress=progress, sheet=sheet)
    problems = (*readiness.problems, *delta_problems(site, readiness.most_patients_band))
    if run is None:
        budget = check_budget(site, run="", planned={}, planned_alone={})
        return DryRun(
            site=site.site,
            readiness=readiness,
            problems=problems,
            run=None,
            budget=budget,
            forecast=None,
            line=None,
        )
    cohort = cohort if cohort is not None else tuple(run.privacy.cohort.values()) or None
    band = readiness.band_of_run(run)
    _refuse_others(cohort, band)
    check_shared_noise(run, band)
    plan, digest, arrays = privacy_plan(run, band), config_digest(run), _arrays(run)
    request = RunRequest(
        config=run,
        config_digest=digest,
        bundle_hash=None if approval is None else approval.bundle,
        events=() if plan is None else (plan.event,),
        rounds=run.federation.rounds,
        patients_band=band,
        cohort=cohort,
        arrays=None if arrays is None else arrays.update,
        device=run.device,
        local_time=local_time,
    )
    policy = policy_of(site, approvals=[] if approval is None else [approval])
    return DryRun(
        site=site.site,
        readiness=readiness,
        problems=problems,
        run=RunCheck(config_digest=digest, verdicts=policy.verdicts(request)),
        budget=check_budget(
            site,
            run=digest,
            planned=planned_events(run, plan),
            planned_alone=planned_events(run, plan, alone=True),
        ),
        forecast=forecast_known(run, own=band, cohort=cohort),
        line=None if arrays is None else LineTime.of(arrays, run),
    )


def _refuse_others(cohort: tuple[str, ...] | None, own: str) -> None:
    if cohort is not None and own not in cohort:
        raise ConfigError(f"--bands {','.join(cohort)}: not those of all sites, for this hospital's is {own}; add it")


def _arrays(run: RunConfig) -> PlannedArrays | None:
    try:
        return planned_arrays(run)
    except ConfigError:  # the encoder's weights are elsewhere: the gate measures the update that is made of them
        return None


def delta_problems(site: SiteConfig, patients_band: str) -> list[str]:
    """Why the hospital's delta is too large for so many patients; nothing where it is not."""
    most = delta_for(patients_band)
    if site.budget.delta <= most:
        return []
    return [
        f"budget.delta={site.budget.delta:g} is above {most:.1e}, a tenth of one over the patients of band "
        f"{patients_band}; lower it"
    ]
