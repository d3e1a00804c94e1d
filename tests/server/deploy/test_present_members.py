"""Who joins or changes keys while a channel is open is a member at the next look; an older list is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config.load import load_config
from common.errors import TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from server.deploy.installation import MEMBERS_FILE, Installation
from server.deploy.membership import revoke
from server.deploy.present_members import PresentMembers
from server.recorder import ServerRecorder
from tests.server.deploy.joining import NOW, Asking, admitted

NAME = "hospital-1"


@pytest.fixture
def log(installation: Installation, tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog(tmp_path / "log", owner="north-sea", key=installation.signing_key) as opened:
        yield opened


def test_hospital_that_joins_comes_back_and_leaves_is_seen_at_the_next_look(
    installation: Installation, config_file: Path, log: AuditLog, site: Asking, other: Asking
) -> None:
    members = PresentMembers(config_file, log)
    assert not members
    admitted(installation, site.request(installation))
    assert dict(members()) == dict(members) == {NAME: site.signing_key.public}
    revoke(config_file, NAME, reason="lost its keys", now=NOW)
    assert not members()
    admitted(installation, other.request(installation))
    assert members()[NAME] == other.signing_key.public
    members()
    versions = [entry.fields["version"] for entry in log.trail if entry.kind is Kind.MEMBERS]
    assert versions == [0, 1, 2, 3], "each list is noted before anybody on it is believed, and once"


def test_recorder_of_an_open_channel_shows_its_log_to_who_has_joined_meanwhile(
    installation: Installation, config_file: Path, log: AuditLog, site: Asking, tmp_path: Path
) -> None:
    """The broken variant is a list that was read when the channel was opened: the hospital is shown nothing."""
    members = PresentMembers(config_file, log)
    live, frozen = (
        ServerRecorder(
            log,
            members=known,
            config=load_config([]),
            folder=tmp_path,
            key=installation.signing_key,
            privacy=lambda band: None,  # type: ignore[arg-type,return-value]  # noqa: ARG005
        )
        for known in (members, dict(members))
    )
    admitted(installation, site.request(installation))
    members()
    assert live.greeting(NAME) == log.show(live._counterpart(NAME))
    with pytest.raises(Exception, match="no member of this name"):
        frozen._counterpart(NAME)


def test_older_list_that_is_put_back_is_refused(
    installation: Installation, config_file: Path, log: AuditLog, site: Asking
) -> None:
    path = installation.folder / MEMBERS_FILE
    before = path.read_bytes()
    members = PresentMembers(config_file, log)
    admitted(installation, site.request(installation))
    members()
    path.write_bytes(before)
    with pytest.raises(TrustError, match="older copy"):
        members()
