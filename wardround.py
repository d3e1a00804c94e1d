"""The command: mounts the sub-commands, imports them when they are called, and turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

# Before anything imports Flower: it phones home unless it is told not to.
os.environ.update(
    FLWR_TELEMETRY_ENABLED="0",
    FLWR_DISABLE_UPDATE_CHECK="1",
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION="1",
    RAY_USAGE_STATS_ENABLED="0",
    HF_HUB_OFFLINE="1",
)
