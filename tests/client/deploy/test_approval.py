"""Approvals: signed, of this site and bundle alone, and taken back at once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.deploy.approval import PURPOSE, Approval
from common.bundle import Bundle, bundle_of
from common.errors import BundleRefused, TrustError
from common.trust.envelope import seal
from common.trust.keys import SigningKey
from tests.client.deploy.hospital import Cohort, Hospital


@pytest.fixture
def approval(hospital: Hospital, content: bytes) -> Approval:
    return hospital.approve(content)


def approval_file(hospital: Hospital, bundle: Bundle) -> Path:
    return hospital.state / "approvals" / f"{bundle.hash}.json"


def test_approval_says_what_was_approved(hospital: Hospital, approval: Approval, bundle: Bundle) -> None:
    assert (approval.site, approval.bundle, approval.run) == (hospital.name, bundle.hash, bundle.run)
    assert (approval.epsilon, approval.delta) == ("8", "0.001")
    assert hospital.approvals.bundle(approval) == bundle
    assert hospital.approvals.all() == [approval]


def test_nothing_is_approved_at_first(hospital: Hospital, bundle: Bundle) -> None:
    assert hospital.approvals.all() == []
    for call in (hospital.approvals.of, hospital.approvals.withdraw):
        with pytest.raises(BundleRefused):
            call(bundle.hash)


@pytest.mark.parametrize("text", ["../../site_key", "", "A" * 64, "a" * 63])
def test_text_that_is_no_hash_names_no_file(hospital: Hospital, text: str) -> None:
    with pytest.raises(BundleRefused):
        hospital.approvals.of(text)


def test_withdrawn_approval_is_gone(hospital: Hospital, approval: Approval) -> None:
    hospital.approvals.withdraw(approval.bundle)
    with pytest.raises(BundleRefused):
        hospital.approvals.of(approval.bundle)
    assert not list((hospital.state / "bundles").iterdir())


@pytest.mark.usefixtures("approval")
def test_every_flipped_byte_of_an_approval_is_refused_or_says_the_same(hospital: Hospital, bundle: Bundle) -> None:
    path, good = approval_file(hospital, bundle), hospital.approvals.of(bundle.hash)
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert hospital.approvals.of(bundle.hash) == good
        except TrustError:
            continue


@pytest.mark.parametrize(
    ("changes", "signer", "purpose"),
    [
        ({}, "other", PURPOSE),
        ({}, "own", "admission"),
        ({"site": "another"}, "own", PURPOSE),
        ({"bundle": "b" * 64}, "own", PURPOSE),
    ],
    ids=["another key", "another purpose", "another site", "another bundle"],
)
def test_forged_approval_is_none(
    hospital: Hospital,
    approval: Approval,
    bundle: Bundle,
    tmp_path: Path,
    changes: dict[str, str],
    signer: str,
    purpose: str,
) -> None:
    keys = {"own": hospital.key, "other": SigningKey.create(tmp_path / "other.pem")}
    approval_file(hospital, bundle).write_bytes(seal(replace(approval, **changes), keys[signer], purpose=purpose))
    with pytest.raises(TrustError, match="withdraw it"):
        hospital.approvals.of(bundle.hash)
    hospital.approvals.withdraw(bundle.hash)


@pytest.mark.parametrize("text", [b"", b"{}"])
@pytest.mark.usefixtures("approval")
def test_approval_without_a_signature_is_none(hospital: Hospital, bundle: Bundle, text: bytes) -> None:
    approval_file(hospital, bundle).write_bytes(text)
    with pytest.raises(TrustError, match="withdraw it"):
        hospital.approvals.of(bundle.hash)


def test_approval_of_another_site_is_none(
    hospital: Hospital, bundle: Bundle, content: bytes, cohort: Cohort, tmp_path: Path
) -> None:
    other = Hospital.new(tmp_path / "other", cohort, cohort.sites[1])
    other.approve(content)
    shutil.copytree(other.state / "approvals", hospital.state / "approvals")
    with pytest.raises(TrustError):
        hospital.approvals.of(bundle.hash)


def test_bundle_beside_an_approval_must_be_the_approved_one(
    hospital: Hospital, approval: Approval, cohort: Cohort
) -> None:
    kept = hospital.state / "bundles" / f"{approval.bundle}.bundle"
    kept.write_bytes(cohort.bundle("seed=1"))
    with pytest.raises(TrustError, match="is not what was approved"):
        hospital.approvals.bundle(approval)
    kept.unlink()
    with pytest.raises(TrustError, match="cannot be read"):
        hospital.approvals.bundle(approval)


def test_file_that_changed_while_it_was_looked_at_is_not_approved(
    hospital: Hospital, content: bytes, cohort: Cohort, tmp_path: Path
) -> None:
    file = tmp_path / "run.bundle"
    file.write_bytes(cohort.bundle("seed=1"))
    with pytest.raises(TrustError, match="begin again"):
        hospital.approvals.give(file, bundle_of(content), code="c" * 64, epsilon=1.0, delta=1e-3, now=datetime.now(UTC))
    assert hospital.approvals.all() == []
