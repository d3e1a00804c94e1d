"""Nothing ungated leaves a hospital: each release in its log was made by a mechanism that its own policy lets out.

The log tells what left by the installed program. What else left the building, and whether the installed program is the
published one, no file tells.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from functools import partial

from client.policy.site_schema import ANY, SiteConfig
from common.errors import CannotTell, CheckFailed, TrustError
from common.evidence.log_entries import Kind
from common.privacy.release import Mechanism
from simulations.audits.promises.answers import Check, Promise, checked
from simulations.audits.promises.opened import Opened
from simulations.audits.promises.parts import Part

_ONLY = (Promise.GATED,)


def checks(opened: Opened) -> Iterator[Check]:
    """The checks, hospital by hospital."""
    command = f"wardround audit all {shlex.quote(str(opened.handed.run))} --site STATE"
    if opened.is_simulation:
        yield checked("hospitals' logs", _no_logs, promises=_ONLY, files=(), command=command)
        return
    for part in opened.policies:
        if part.value is None:
            yield checked(
                f"policy {part.path}",
                partial(_unreadable, part),
                promises=_ONLY,
                files=(part.path,),
                command="wardround site check --config site.yaml",
            )
    for site in opened.sites:
        log = [opened.site_logs[site][0]] if site in opened.site_logs else []
        policy = [opened.policy_of[site].path] if site in opened.policy_of else []
        for name, check, files in (
            (f"what left {site}", _check_releases, log),
            (f"approval of {site}", _check_approval, log),
            (f"policy of {site}", _check_policy, [*policy, *log]),
        ):
            yield checked(name, partial(check, opened, site), promises=_ONLY, files=files, command=command)


def _no_logs() -> str:
    raise CannotTell("a simulation keeps no audit log of a hospital, and its policy lets figures without noise pass")


def _unreadable(part: Part[SiteConfig]) -> str:
    part.get()
    return ""


def _check_releases(opened: Opened, site: str) -> str:
    """Each release names a mechanism that may leave a hospital, and a ledger entry where it costs privacy."""
    path, trail = opened.log_of(site)
    made: Counter[str] = Counter()
    for entry in opened.of_run(trail):
        if entry.kind is not Kind.RELEASE:
            continue
        name, mechanism = str(entry.fields["release"]), str(entry.fields["mechanism"])
        if mechanism not in set(Mechanism):
            raise CheckFailed(f"{path}: entry {entry.number}: {name} left by {mechanism}, which nobody knows")
        if mechanism == Mechanism.NOT_PRIVATE:
            raise CheckFailed(f"{path}: entry {entry.number}: {name} left {site} without noise (not_private)")
        if Mechanism(mechanism).costs_privacy and entry.fields["ledger_entry"] is None:
            raise CheckFailed(f"{path}: entry {entry.number}: {name} costs privacy, and names no entry of the ledger")
        made[mechanism] += 1
    if not made:
        raise CannotTell(f"{path}: holds no release of this run")
    return f"{made.total()} releases: " + ", ".join(f"{count} by {name}" for name, count in sorted(made.items()))


def _check_approval(opened: Opened, site: str) -> str:
    """The hospital approved the run's bundle before anything of the run left it, but for its name and band."""
    path, trail = opened.log_of(site)
    of_run = opened.of_run(trail)
    approved = [entry for entry in of_run if entry.kind is Kind.BUNDLE_APPROVED]
    costly = [entry for entry in of_run if entry.kind is Kind.RELEASE and entry.fields["ledger_entry"] is not None]
    if not approved and not costly:
        return f"{site} let nothing out in this run that costs privacy, and approved nothing"
    if not approved:
        raise CheckFailed(f"{path}: {site} trained in the run, and its log holds no approval of it")
    if costly and costly[0].number < approved[0].number:
        raise CheckFailed(f"{path}: entry {costly[0].number}: left before the approval in entry {approved[0].number}")
    named = str(approved[-1].fields["bundle"])
    bundle = opened.bundle.value
    if bundle is None:
        return f"approved bundle {named[:12]} in entry {approved[0].number}; the bundle itself is not here to compare"
    if bundle.hash not in {entry.fields["bundle"] for entry in approved}:
        raise TrustError(f"{opened.bundle.path}: is not the bundle that {site} approved ({named[:12]})")
    return f"approved bundle {bundle.hash[:12]} in entry {approved[0].number}, before anything that costs privacy left"


def _check_policy(opened: Opened, site: str) -> str:
    """Each release of the run, and each hospital that was answered, is one that `site.yaml` allows."""
    if site not in opened.policy_of:
        raise CannotTell(f"site.yaml of {site}: not handed over")
    part = opened.policy_of[site]
    policy, (path, trail) = part.needed(), opened.log_of(site)
    for entry in trail:
        if entry.kind is Kind.QUESTION_ANSWERED and not _allows(policy.search.allowed, str(entry.fields["asker"])):
            raise CheckFailed(
                f"{path}: entry {entry.number}: answered {entry.fields['asker']}, whom {part.path} does not allow to "
                "search; ask whether it was changed since"
            )
    for entry in opened.of_run(trail):
        if entry.kind is Kind.RELEASE:
            name, mechanism = str(entry.fields["release"]), str(entry.fields["mechanism"])
            allowed = policy.releases.allowed
            if mechanism not in allowed.get(name, allowed.get(ANY, [])):
                raise CheckFailed(
                    f"{path}: entry {entry.number}: {name} left by {mechanism}, which {part.path} does not allow; ask "
                    "whether it was changed since"
                )
    return f"everything that left is what {part.path.name} allows as it stands now"


def _allows(allowed: list[str], asker: str) -> bool:
    return asker in allowed or allowed == [ANY]
