"""The policy of a simulated site, which knows no real patients."""

from __future__ import annotations

from client.policy.interface import Policy
from client.policy.release_rules import AllowedMechanisms
from client.policy.site_schema import ANY
from common.privacy.release import Mechanism


def simulation_policy() -> Policy:
    """Any run, and any record by any mechanism, not private ones among them; what a run may spend is the ledger's."""
    return Policy(run_rules=(), release_rules=(AllowedMechanisms({ANY: frozenset(Mechanism)}),))
