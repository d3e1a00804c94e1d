"""What keeps other people's software from phoning home, and from going elsewhere; set before any of it is imported."""

from __future__ import annotations

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_PROXY": "*",
    "no_proxy": "*",
}
"""Flower, Ray and transformers send usage data, look for updates or install things unless told not to.

Proxies that the environment names would take calls of this machine to itself, and send traffic where no configuration
says: none is followed. A hospital names its own in `agent.proxy`."""
