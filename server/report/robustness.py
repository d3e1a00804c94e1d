"""The grid of `--scenario robustness` as the report shows it: rules by attacks, the worst of each, and who holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.report import words

Summary = Mapping[str, Any]

MEAN = "mean"
HOLDS = 0.9
"""A rule holds where it keeps at least this share of the reference under every attack."""


@dataclass(frozen=True)
class Worst:
    """The attack under which a rule keeps least.

    Attributes:
        attack: Its name.
        kept: Share of the reference's recall at 10 that is kept under it.
    """

    attack: str
    kept: float

    @property
    def holds(self) -> bool:
        """Whether the rule keeps enough under every attack."""
        return self.kept >= HOLDS


@dataclass(frozen=True)
class Grid:
    """One heat map: every rule under every attack, at one epsilon and number of attackers.

    Attributes:
        epsilon: None without privacy.
        num_byzantine: Attackers.
        num_sites: Sites, attackers included.
        rules: Rows.
        attacks: Columns.
        kept: Row by row, the share of the reference's recall at 10; None where the rule refused.
        refusals: Row by row, why; None where it did not.
    """

    epsilon: float | None
    num_byzantine: int
    num_sites: int
    rules: tuple[str, ...]
    attacks: tuple[str, ...]
    kept: tuple[tuple[float | None, ...], ...]
    refusals: tuple[tuple[str | None, ...], ...]

    @property
    def title(self) -> str:
        """For example `Two of ten hospitals attack, epsilon 8`."""
        few = f"{words.spelled(self.num_byzantine)} of {words.plural(self.num_sites, 'hospital')}"
        return f"{words.capital(few)} attack{'s' if self.num_byzantine == 1 else ''}, {words.privacy(self.epsilon)}"

    @property
    def worst(self) -> tuple[Worst | None, ...]:
        """For each rule; None for one that refused under some attack, or was not measured."""
        return tuple(_worst(self.attacks, row) for row in self.kept)


@dataclass(frozen=True)
class RuleRow:
    """One rule over all grids.

    Attributes:
        rule: In plain words.
        is_mean: Whether it is the plain mean, which bears no attacker.
        unattacked: Share of the reference kept without attackers, by epsilon, where the rule was told of none.
        worst: Its worst attack in each grid.
        refusals: Its reasons to refuse, each once.
        holds: Whether it holds in every grid.
    """

    rule: str
    is_mean: bool
    unattacked: tuple[float | None, ...]
    worst: tuple[Worst | None, ...]
    refusals: tuple[str, ...]
    holds: bool


@dataclass(frozen=True)
class BackdoorRow:
    """How often the backdoor works against one rule.

    Attributes:
        rule: In plain words.
        success: In each grid, the share of images with the trigger that find what the attackers want.
        control: The same for the images without the trigger.
    """

    rule: str
    success: tuple[float | None, ...]
    control: tuple[float | None, ...]


def grids(summary: Summary) -> list[Grid]:
    """A grid for each epsilon and number of attackers, in the order of the cells; none for a run of another kind."""
    found = summary.get("robustness") or {"cells": []}
    attacked = [cell for cell in found["cells"] if cell["num_byzantine"]]
    keys = dict.fromkeys((cell["epsilon"], cell["num_byzantine"]) for cell in attacked)
    return [
        _grid(*key, found["num_sites"], [c for c in attacked if (c["epsilon"], c["num_byzantine"]) == key])
        for key in keys
    ]


def hardest_grids(summary: Summary) -> list[Grid]:
    """The grids of the most attackers."""
    found = grids(summary)
    most = max((grid.num_byzantine for grid in found), default=0)
    return [grid for grid in found if grid.num_byzantine == most]


def rule_rows(summary: Summary) -> list[RuleRow]:
    """One row for each rule, the one that keeps most in its worst grid first."""
    found = grids(summary)
    cells = (summary.get("robustness") or {"cells": []})["cells"]
    free = {(c["epsilon"], c["rule"]): c["kept"] for c in cells if not c["num_byzantine"]}
    epsilons = list(dict.fromkeys(cell["epsilon"] for cell in cells))
    rows = []
    for rule in _names(found):
        worst = tuple(_of(grid, rule, grid.worst) for grid in found)
        reasons = [reason for grid in found for reason in _of(grid, rule, grid.refusals) or () if reason]
        least = min((one.kept if one else -1.0 for one in worst), default=-1.0)
        row = RuleRow(
            rule=words.rule(rule),
            is_mean=rule == MEAN,
            unattacked=tuple(free.get((epsilon, rule)) for epsilon in epsilons),
            worst=worst,
            refusals=tuple(dict.fromkeys(reasons)),
            holds=bool(worst) and all(one is not None and one.holds for one in worst),
        )
        rows.append((least, row))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def backdoor_rows(summary: Summary) -> list[BackdoorRow]:
    """One row for each rule that the backdoor was tried against."""
    found = grids(summary)
    rates = {
        (c["epsilon"], c["num_byzantine"], c["rule"]): (c["backdoor_success"], c["backdoor_control"])
        for c in (summary.get("robustness") or {"cells": []})["cells"]
        if c["backdoor_success"] is not None
    }
    rows = []
    for rule in _names(found):
        pairs = [rates.get((grid.epsilon, grid.num_byzantine, rule), (None, None)) for grid in found]
        if any(success is not None for success, _ in pairs):
            success, control = zip(*pairs, strict=True)
            rows.append(BackdoorRow(words.rule(rule), success, control))
    return rows


def verdict(summary: Summary) -> str | None:
    """Which rule holds, in one sentence; None for a run of another kind, or where nobody attacked."""
    rows, hardest = rule_rows(summary), hardest_grids(summary)
    if not rows or not hardest:
        return None
    best = rows[0]
    kept = [worst.kept for worst in best.worst if worst is not None]
    some = f"{words.spelled(hardest[0].num_byzantine)} of {words.plural(hardest[0].num_sites, 'hospital')}"
    if len(kept) < len(best.worst):
        return f"With up to {some} attacking, every rule refused some cohort."
    told = f"{words.whole_percent(min(kept))}% of what an unattacked federation finds"
    if best.holds:
        return f"With up to {some} attacking, {best.rule} holds: it keeps at least {told}."
    return f"With up to {some} attacking, no rule holds: the best, {best.rule}, keeps as little as {told}."


def _grid(epsilon: float | None, num_byzantine: int, num_sites: int, cells: Sequence[Mapping[str, Any]]) -> Grid:
    rules = tuple(dict.fromkeys(cell["rule"] for cell in cells))
    attacks = tuple(dict.fromkeys(cell["attack"] for cell in cells))
    by_place = {(cell["rule"], cell["attack"]): cell for cell in cells}

    def rows(key: str) -> tuple[tuple[Any, ...], ...]:
        return tuple(tuple(by_place.get((rule, attack), {}).get(key) for attack in attacks) for rule in rules)

    return Grid(epsilon, num_byzantine, num_sites, rules, attacks, rows("kept"), rows("refusal"))


def _worst(attacks: Sequence[str], kept: Sequence[float | None]) -> Worst | None:
    found = [Worst(attack, one) for attack, one in zip(attacks, kept, strict=True) if one is not None]
    under_attack = [worst for worst in found if worst.attack != words.NO_ATTACK]
    return min(under_attack, key=lambda worst: worst.kept) if under_attack and len(found) == len(kept) else None


def _names(found: Sequence[Grid]) -> list[str]:
    return list(dict.fromkeys(rule for grid in found for rule in grid.rules))


def _of(grid: Grid, rule: str, values: Sequence[Any]) -> Any:  # noqa: ANN401 - one of the values
    return values[grid.rules.index(rule)] if rule in grid.rules else None
