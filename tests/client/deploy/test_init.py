"""A site's keys are made once, at the site, and the answer to its request is taken from its own server alone."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from client.deploy.identity import SiteKeys, read_identity
from client.deploy.init import create_site, join, read_invitation
from common.errors import ConfigError, TrustError
from tests.client.deploy.centre import NOW, Centre


def test_site_folder_holds_private_keys_for_its_owner_and_a_request(tmp_path: Path, keys: SiteKeys) -> None:
    folder = tmp_path / "state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert files == dict.fromkeys(["site_key.pem", "node_key", "request.json", "consortium.json"], 0o600)
    assert keys.request.site == "hospital-1"
    for private in ("site_key.pem", "node_key"):
        for line in (folder / private).read_text().splitlines()[1:-1]:
            assert line not in (folder / "request.json").read_text()


def test_site_joins_with_the_answer_of_its_server(tmp_path: Path, centre: Centre, keys: SiteKeys) -> None:
    member = join(keys.folder, centre.answer(tmp_path / "state" / "request.json"), now=NOW)
    assert (member.name, member.consortium) == ("hospital-1", centre.consortium)
    assert member.roots_file.read_text() == centre.consortium.root.pem
    again = read_identity(keys.folder, now=NOW + timedelta(days=3000))
    assert again.admission == member.admission


def test_existing_keys_are_never_written_over(centre: Centre, keys: SiteKeys) -> None:
    before = {path: path.read_bytes() for path in keys.folder.iterdir()}
    with pytest.raises(ConfigError, match=r"state: is there already.*a site keeps its keys"):
        create_site(keys.folder, bundle=centre.bundle, confirmed=centre.consortium.digest, name="x", now=NOW)
    assert {path: path.read_bytes() for path in keys.folder.iterdir()} == before


@pytest.mark.parametrize("name", ["Hospital", "", "../x"])
def test_name_that_is_not_plain_makes_nothing(tmp_path: Path, centre: Centre, name: str) -> None:
    with pytest.raises(ConfigError, match=r"--name .*: not a name; use up to 63"):
        create_site(tmp_path / "s", bundle=centre.bundle, confirmed=centre.consortium.digest, name=name, now=NOW)
    assert not (tmp_path / "s").exists()


def test_file_other_than_the_one_compared_makes_nothing(tmp_path: Path, centre: Centre) -> None:
    other = Centre.new(tmp_path / "elsewhere")
    with pytest.raises(TrustError, match="another file than the one that was compared"):
        create_site(tmp_path / "s", bundle=other.bundle, confirmed=centre.consortium.digest, name="a", now=NOW)
    assert not (tmp_path / "s").exists()


def test_damaged_and_expired_invitations_are_refused(centre: Centre) -> None:
    read_invitation(centre.bundle, now=NOW)
    with pytest.raises(TrustError, match="root certificate expired on 2036-11-21"):
        read_invitation(centre.bundle, now=NOW + timedelta(days=3650))
    with pytest.raises(TrustError, match="root certificate is not valid before"):
        read_invitation(centre.bundle, now=NOW - timedelta(days=1))
    bundle = centre.bundle
    bundle.write_bytes(bundle.read_bytes().replace(b"8443", b"8444"))
    with pytest.raises(TrustError, match=r"consortium\.json: .*does not hold; ask the coordinating centre"):
        read_invitation(bundle, now=NOW)


def test_answer_of_another_server_is_refused(tmp_path: Path, keys: SiteKeys) -> None:
    thief = Centre.new(tmp_path / "thief")
    with pytest.raises(TrustError, match=r"hospital-1\.json: .*does not hold"):
        join(keys.folder, thief.answer(keys.folder / "request.json"), now=NOW)
    assert not (keys.folder / "admission.json").exists()


def test_answer_to_another_site_is_refused(tmp_path: Path, centre: Centre, keys: SiteKeys) -> None:
    other = create_site(
        tmp_path / "b", bundle=centre.bundle, confirmed=centre.consortium.digest, name="hospital-2", now=NOW
    )
    with pytest.raises(TrustError, match="admits hospital-2 with other keys or another name"):
        join(keys.folder, centre.answer_to(other.request), now=NOW)
    same_keys = replace(keys.request, site="hospital-3")
    with pytest.raises(TrustError, match="admits hospital-3"):
        join(keys.folder, centre.answer_to(same_keys), now=NOW)


def test_newer_answer_is_taken_and_an_older_one_never_again(centre: Centre, keys: SiteKeys) -> None:
    older = centre.answer_to(keys.request).read_bytes()
    join(keys.folder, centre.answer_to(keys.request), now=NOW)
    renewed = centre.with_new_root()
    member = join(keys.folder, renewed.answer_to(keys.request), now=NOW)
    assert member.roots_file.read_text() == "".join(renewed.consortium.roots)
    path = centre.folder / "older.json"
    path.write_bytes(older)
    with pytest.raises(TrustError, match="older than the one that was taken"):
        join(keys.folder, path, now=NOW)
    assert read_identity(keys.folder, now=NOW).consortium.version == 2


def test_same_answer_can_be_taken_again(centre: Centre, keys: SiteKeys) -> None:
    answer = centre.answer_to(keys.request)
    assert join(keys.folder, answer, now=NOW).admission == join(keys.folder, answer, now=NOW).admission


@pytest.mark.parametrize(
    ("later", "said"),
    [(timedelta(days=3650), "admission expired on 2036-11-21"), (-timedelta(hours=3), "admission is not valid before")],
)
def test_answer_holds_at_its_time_alone(centre: Centre, keys: SiteKeys, later: timedelta, said: str) -> None:
    with pytest.raises(TrustError, match=said):
        join(keys.folder, centre.answer_to(keys.request), now=NOW + later)
