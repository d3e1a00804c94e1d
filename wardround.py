"""The command: mounts the sub-commands, imports them when they are called, and turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer
from typer.core import TyperGroup

# Before anything imports Flower, Ray or transformers: they phone home unless they are told not to.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
