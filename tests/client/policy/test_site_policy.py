"""What a hospital approves beside its site.yaml is allowed, and nothing more is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.policy.interface import RunRequest
from client.policy.site_config import load_site_config
from client.policy.site_policy import Approved, policy_of

BUNDLE, RUN = "b" * 64, "c" * 64
APPROVED = Approved(bundle=BUNDLE, run=RUN)


@pytest.mark.parametrize(
    ("approvals", "listed", "refused"),
    [
        ([], {}, ["configuration", "bundle"]),
        ([APPROVED], {}, []),
        ([Approved(bundle=BUNDLE, run="d" * 64)], {}, ["configuration"]),
        ([Approved(bundle="d" * 64, run=RUN)], {}, ["bundle"]),
        ([], {"config_digests": [RUN], "bundle_hashes": [BUNDLE]}, []),
        ([APPROVED], {"config_digests": ["d" * 64]}, []),
        ([Approved(bundle="d" * 64, run="d" * 64)], {"config_digests": ["any"], "bundle_hashes": ["any"]}, []),
    ],
)
def test_approvals_add_to_the_lists(
    site_yaml: dict[str, Any],
    write_site: Callable[..., Path],
    run_request: Callable[..., RunRequest],
    approvals: list[Approved],
    listed: dict[str, list[str]],
    refused: list[str],
) -> None:
    site_yaml["training"] |= {"config_digests": []} | listed
    policy = policy_of(load_site_config(write_site(site_yaml)), approvals=approvals)
    verdicts = policy.verdicts(run_request(bundle_hash=BUNDLE, config_digest=RUN))
    assert [verdict.rule for verdict in verdicts if verdict.refusal is not None] == refused
