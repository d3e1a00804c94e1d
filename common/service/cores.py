"""How many cores this process may use: what the scheduler allows, and what a container's quota leaves of them."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(*, cgroups: Path = CGROUPS) -> int:
    """Cores, one at least: the CPU affinity, or the control group's quota where that is less (cgroups(7)).

    Args:
        cgroups: Where the control groups are mounted.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_v2(cgroups) or _quota_v1(cgroups)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def _quota_v2(cgroups: Path) -> float | None:
    try:
        most, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if most == "max" else int(most) / int(period)


def _quota_v1(cgroups: Path) -> float | None:
    try:
        most, period = (int((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return most / period if most > 0 else None
