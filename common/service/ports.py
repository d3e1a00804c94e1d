"""Where a service may be asked how it fares."""

from __future__ import annotations

LOOPBACK = "127.0.0.1"
"""This machine, and no other."""

OFF = 0
"""The port that means none."""
