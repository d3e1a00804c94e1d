"""Admission and revocation: every hostile request is refused, and a crash leaves nothing half-done."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest

from common.errors import ConfigError, TrustError
from common.trust.admission import read_admission
from common.trust.envelope import read_file
from server.deploy.init import create_consortium
from server.deploy.installation import Installation, alone_in, read_installation
from server.deploy.membership import admit, examine, revoke
from tests.server.deploy.joining import NOW, Asking, admitted, said


def members_of(installation: Installation) -> list[str]:
    return list(read_installation(installation.folder / "consortium.yaml").members.present)


def test_admitted_site_gets_an_answer_and_flower_its_key(installation: Installation, site: Asking) -> None:
    path = site.request(installation)
    answer = read_admission(admitted(installation, path).read_bytes(), request=said(path))
    assert (answer.site, answer.consortium) == ("hospital-1", installation.consortium)
    answer.expiry.check(NOW)
    assert members_of(installation) == ["hospital-1"]
    public = installation.folder / "nodes" / "hospital-1.pub"
    assert public.read_text() == f"{site.node_key.public.openssh} hospital-1\n"
    import_module("flwr.cli.supernode.register").try_load_public_key(public)


def test_members_are_listed_with_what_they_asked(installation: Installation, site: Asking, other: Asking) -> None:
    one, two = site.request(installation), other.request(installation, "hospital-2")
    admitted(installation, one)
    admitted(installation, two)
    found = read_installation(installation.folder / "consortium.yaml").members
    assert [entry.request for entry in found.present.values()] == [said(one).digest, said(two).digest]


def test_altered_request_is_refused(installation: Installation, site: Asking) -> None:
    path = site.request(installation)
    path.write_bytes(path.read_bytes().replace(b"hospital-1", b"hospital-2"))
    with pytest.raises(TrustError, match=r"hospital-1\.json: the signature of a site request does not hold"):
        examine(installation, path, now=NOW)


def test_request_that_replays_proofs_of_another_name_is_refused(installation: Installation, site: Asking) -> None:
    signed = json.loads(site.request(installation).read_bytes())
    path = site.request(installation, "hospital-2")
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "signatures": signed["signatures"]}))
    with pytest.raises(TrustError, match="does not hold"):
        examine(installation, path, now=NOW)


def test_request_to_another_consortium_is_refused(tmp_path: Path, installation: Installation, site: Asking) -> None:
    elsewhere = create_consortium(tmp_path / "elsewhere", name="south-sea", hosts=["localhost"], now=NOW)
    with pytest.raises(TrustError, match=r"asks another consortium.*north-sea"):
        examine(installation, site.request(elsewhere), now=NOW)


@pytest.mark.parametrize(
    ("later", "message"), [(timedelta(days=31), "expired"), (-timedelta(hours=2), "not valid before")]
)
def test_old_request_and_one_of_the_future_are_refused(
    installation: Installation, site: Asking, later: timedelta, message: str
) -> None:
    with pytest.raises(TrustError, match=f"request of hospital-1.*{message}"):
        examine(installation, site.request(installation, now=NOW - later), now=NOW)


def test_same_request_twice_and_same_key_under_two_names_are_refused(installation: Installation, site: Asking) -> None:
    path = site.request(installation)
    admitted(installation, path)
    for again in (path, site.request(installation, "hospital-2")):
        with pytest.raises(TrustError, match="is that of hospital-1, a member since 2026-11-24"):
            admitted(installation, again)
    assert members_of(installation) == ["hospital-1"]


def test_taken_name_is_refused(installation: Installation, site: Asking, other: Asking) -> None:
    admitted(installation, site.request(installation))
    with pytest.raises(TrustError, match="hospital-1: the name is taken"):
        admitted(installation, other.request(installation))


def test_request_that_was_exchanged_after_it_was_compared_is_refused(
    installation: Installation, config_file: Path, site: Asking, other: Asking
) -> None:
    path = site.request(installation)
    compared = said(path).digest
    path.write_bytes(other.request(installation).read_bytes())
    with pytest.raises(TrustError, match="another request than the one that was compared"):
        admit(config_file, path, confirmed=compared, now=NOW)
    assert members_of(installation) == []


def test_revoked_site_loses_its_files_and_its_keys_never_come_back(
    installation: Installation, config_file: Path, site: Asking, other: Asking
) -> None:
    path = site.request(installation)
    answer = admitted(installation, path)
    revoke(config_file, "hospital-1", reason="key lost", now=NOW)
    assert members_of(installation) == []
    assert not answer.exists()
    assert not (installation.folder / "nodes" / "hospital-1.pub").exists()
    for again in (path, site.request(installation, "hospital-2")):
        with pytest.raises(TrustError, match="was revoked with hospital-1"):
            admitted(installation, again)
    admitted(installation, other.request(installation))
    assert members_of(installation) == ["hospital-1"]


def test_second_revocation_changes_nothing(installation: Installation, config_file: Path, site: Asking) -> None:
    admitted(installation, site.request(installation))
    revoke(config_file, "hospital-1", reason="key lost", now=NOW)
    before = read_file(installation.folder / "members.json")
    with pytest.raises(ConfigError, match=r"was revoked on 2026-11-24.* already \(key lost\)"):
        revoke(config_file, "hospital-1", reason="again", now=NOW)
    assert read_file(installation.folder / "members.json") == before


def test_expired_server_certificate_stops_admission_and_not_revocation(
    installation: Installation, config_file: Path, site: Asking, other: Asking
) -> None:
    admitted(installation, site.request(installation))
    later = NOW + timedelta(days=366)
    path = other.request(installation, "hospital-2", now=later)
    with pytest.raises(TrustError, match=r"server certificate expired on 2027-11-24; wardround server rotate"):
        admitted(installation, path, now=later)
    revoke(config_file, "hospital-1", reason="left", now=later)
    assert members_of(installation) == []


@pytest.mark.parametrize("broken", ["members.json", "consortium.json", "signing_key.pem"])
def test_missing_part_stops_every_command(installation: Installation, config_file: Path, broken: str) -> None:
    (installation.folder / broken).unlink()
    with pytest.raises(TrustError, match=f"{broken}: cannot be read"):
        revoke(config_file, "hospital-1", reason="left", now=NOW)


def test_crash_behind_the_entry_is_mended_by_the_next_command(
    installation: Installation, site: Asking, other: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.deploy import membership

    publish, calls = membership.publish, []

    def crash_at_the_second(found: Installation) -> None:
        calls.append(found)
        if len(calls) == 2:
            raise KeyboardInterrupt
        publish(found)

    monkeypatch.setattr(membership, "publish", crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        admitted(installation, site.request(installation))
    answer = installation.folder / "admissions" / "hospital-1.json"
    assert members_of(installation) == ["hospital-1"]
    assert not answer.exists()
    admitted(installation, other.request(installation, "hospital-2"))
    assert answer.exists()


def test_two_commands_at_once_do_not_lose_an_entry(installation: Installation, config_file: Path, site: Asking) -> None:
    path = site.request(installation)
    with alone_in(installation.folder), pytest.raises(ConfigError, match="another command is at work"):
        admitted(installation, path)
    admitted(installation, path)
    assert config_file.exists()


def test_no_message_holds_a_private_key(installation: Installation, config_file: Path, site: Asking) -> None:
    secrets = [
        line
        for path in [*installation.folder.rglob("*.pem"), site.folder / "key.pem", site.folder / "node"]
        for line in path.read_text().split("-----END")[0].splitlines()
        if line and "-----" not in line
    ]
    (installation.folder / "server.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n")
    with pytest.raises(TrustError) as refused:
        admit(config_file, site.request(installation), confirmed="", now=NOW)
    assert not any(secret in str(refused.value) for secret in [*secrets, "AAAA"])
