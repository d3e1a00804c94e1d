"""What a benchmark says: rows of seconds and memory, each beside a peer or a bound measured in the same run."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

PACKAGES = ("wardround", "torch", "flwr", "numpy", "faiss-cpu", "ray", "byzfl")
PROCESS_STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured thing; None where a figure was not measured.

    Attributes:
        name: What was measured.
        seconds: Median time of one.
        peak_mib: Greatest resident memory of the process that did it; where the bench says so, above its input.
        peer: Whose implementation of the same thing was measured beside it.
        peer_seconds: The peer's time.
        bound_seconds: Time below which it cannot come on this machine.
        figures: What else was measured, by name, in the order of its columns.
    """

    name: str
    seconds: float
    peak_mib: float | None = None
    peer: str | None = None
    peer_seconds: float | None = None
    bound_seconds: float | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def speedup(self) -> float | None:
        """How many times the peer's speed."""
        return self.peer_seconds / self.seconds if self.peer_seconds is not None else None

    @property
    def over_bound(self) -> float | None:
        """How many times the bound."""
        return self.seconds / self.bound_seconds if self.bound_seconds is not None else None


def as_json(bench: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The object that `wardround bench --json` prints."""
    return {
        "bench": bench,
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "rows": [_object(row) for row in rows],
    }


def _object(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = asdict(row)
    del fields["figures"]
    return {**fields, "speedup": row.speedup, **row.figures}


def as_table(bench: str, rows: Sequence[Row]) -> Table:
    """The rows for a terminal of 80 columns; each says whose time its peer's is where there is more than one peer."""
    peers = sorted({row.peer for row in rows if row.peer is not None})
    caption = f"peer: {', '.join(peers) or 'none measured'}"
    table = Table(
        title=f"bench {bench}, median seconds",
        caption=caption,
        box=SIMPLE,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    times = [] if figures else ["/ bound", "peak MiB", "peer", "speedup"]
    for column in ("what", "seconds", *times, *figures):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for row in rows:
        measured = [_figure(row.figures.get(name)) for name in figures] if figures else _times(row, peers)
        table.add_row(row.name, _shown(row.seconds, ".4f"), *measured)
    return table


def peak_mib() -> float | None:
    """Greatest resident memory of this process so far; None where the system does not tell (proc(5), VmHWM)."""
    return _status_mib("VmHWM")


def extra_mib(action: Callable[[], object]) -> float | None:
    """Greatest resident memory of this process while it does something, above what it held before.

    None where the system does not tell, or does not let a process start the peak anew (proc(5), clear_refs).
    """
    # What earlier work freed but the allocator kept would be used again, and not be counted.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    try:
        RESET_PEAK.write_text("5", encoding="ascii")
    except OSError:
        return None
    before = _status_mib("VmRSS")
    action()
    peak = _status_mib("VmHWM")
    return None if before is None or peak is None else max(0.0, peak - before)


def _status_mib(field: str) -> float | None:
    if not PROCESS_STATUS.exists():
        return None
    fields = dict(line.split(":", 1) for line in PROCESS_STATUS.read_text(encoding="ascii").splitlines())
    return int(fields[field].split()[0]) / 1024


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _times(row: Row, peers: Sequence[str]) -> list[str]:
    return [
        _shown(row.over_bound, ".1f", "x"),
        _shown(row.peak_mib, ".0f"),
        _shown(row.peer_seconds, ".4f", f" {row.peer}" if len(peers) > 1 else ""),
        _shown(row.speedup, ".1f", "x"),
    ]


def _figure(value: float | None) -> str:
    return _shown(value, "d" if isinstance(value, int) else ".3f")


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"
