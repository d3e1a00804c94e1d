"""New certificates: the sites go on being served, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.errors import ConfigError, TrustError
from common.trust.admission import read_admission
from common.trust.certificates import check_path
from server.deploy.config import Validity, consortium_yaml
from server.deploy.init import create_consortium
from server.deploy.installation import Installation, read_installation
from server.deploy.rotate import crossover, rotate_root, rotate_server_certificate
from tests.common.trust.pki import handshake
from tests.server.deploy.joining import NOW, Asking, admitted, said


def test_new_server_certificate_changes_nothing_for_the_sites(
    installation: Installation, config_file: Path, site: Asking
) -> None:
    answer = admitted(installation, site.request(installation))
    before, chain = answer.read_bytes(), installation.server_chain
    later = NOW + timedelta(days=350)
    rotated = rotate_server_certificate(config_file, now=later)
    rotated.check(later + timedelta(days=364))
    assert rotated.consortium == installation.consortium
    assert answer.read_bytes() == before
    assert rotated.server_chain[0].public_key != chain[0].public_key


def test_expired_server_certificate_is_mended_by_rotating(installation: Installation, config_file: Path) -> None:
    later = NOW + timedelta(days=400)
    with pytest.raises(TrustError, match="wardround server rotate"):
        installation.check(later)
    rotate_server_certificate(config_file, now=later).check(later)


def test_server_certificate_never_outlives_its_root(config_file: Path) -> None:
    rotated = rotate_server_certificate(config_file, now=NOW + timedelta(days=3600))
    assert rotated.server_chain[0].end == rotated.consortium.root.end


def test_changed_hosts_are_made_known_by_rotating(installation: Installation, config_file: Path, site: Asking) -> None:
    path = site.request(installation)
    answer = admitted(installation, path)
    config_file.write_text(consortium_yaml(replace(installation.config, hosts=["moved.example.org"])))
    rotate_server_certificate(config_file, now=NOW)
    read_installation(config_file).check(NOW)
    told = read_admission(answer.read_bytes(), request=said(path)).consortium
    assert (told.hosts, told.version) == (("moved.example.org",), 2)


@pytest.mark.parametrize("rotate", [rotate_server_certificate, rotate_root])
def test_root_key_is_needed_and_must_be_the_right_one(
    tmp_path: Path, installation: Installation, config_file: Path, rotate: type
) -> None:
    (path,) = installation.folder.glob("ca/*_key.pem")
    before = {file: file.read_bytes() for file in installation.folder.rglob("*") if file.is_file() and file != path}
    elsewhere = create_consortium(tmp_path / "b", name="a", hosts=["localhost"], now=NOW)
    (other,) = elsewhere.folder.glob("ca/*_key.pem")
    own = path.read_bytes()
    path.write_bytes(other.read_bytes())
    with pytest.raises(TrustError, match="is not the key of the root"):
        rotate(config_file, now=NOW)
    path.write_bytes(own)
    path.chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        rotate(config_file, now=NOW)
    path.unlink()
    with pytest.raises(TrustError, match=r"_key\.pem: is not there; bring the root's key back"):
        rotate(config_file, now=NOW)
    assert {file: file.read_bytes() for file in installation.folder.rglob("*") if file.is_file()} == before


def test_new_root_serves_sites_that_know_the_old_one_the_new_one_or_both(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made = create_consortium(tmp_path / "c", name="a", hosts=["localhost"], now=now)
    rotated = rotate_root(made.folder / "consortium.yaml", now=now)
    rotated.check(now)
    assert rotated.consortium.roots == (made.consortium.root.pem, rotated.consortium.root.pem)
    both = (made.folder / "consortium.crt").read_text()
    assert both == "".join(rotated.consortium.roots)
    for roots in (made.consortium.root.pem, rotated.consortium.root.pem, both):
        assert handshake(rotated.server_file, roots) == "hello"


def test_admissions_name_both_roots_after_a_new_one(
    installation: Installation, config_file: Path, site: Asking
) -> None:
    path = site.request(installation)
    answer = admitted(installation, path)
    rotated = rotate_root(config_file, now=NOW)
    told = read_admission(answer.read_bytes(), request=said(path))
    assert told.consortium == rotated.consortium
    assert told.consortium.version == 2
    assert told.expiry.end == rotated.consortium.root.end


def test_crossover_ends_and_then_the_old_root_is_dropped(installation: Installation, config_file: Path) -> None:
    rotated = rotate_root(config_file, now=NOW)
    over = crossover(rotated)
    assert over is not None
    assert over.end == NOW + timedelta(days=90)
    during = rotate_server_certificate(config_file, now=NOW + timedelta(days=89))
    assert during.consortium == rotated.consortium
    check_path(
        during.server_chain, roots=[installation.consortium.root], host="localhost", now=NOW + timedelta(days=89)
    )
    after = rotate_server_certificate(config_file, now=NOW + timedelta(days=91))
    assert after.consortium.roots == (rotated.consortium.root.pem,)
    assert crossover(after) is None
    assert len(after.server_chain) == 1
    after.check(NOW + timedelta(days=91))


def test_third_root_waits_for_the_end_of_the_crossover(installation: Installation, config_file: Path) -> None:
    assert crossover(installation) is None
    rotate_root(config_file, now=NOW)
    with pytest.raises(ConfigError, match="cross-over to a new root is under way until 2027-02-22"):
        rotate_root(config_file, now=NOW + timedelta(days=1))
    later = NOW + timedelta(days=91)
    rotate_root(config_file, now=later).check(later)


def test_expired_root_is_followed_by_a_new_one_alone(tmp_path: Path) -> None:
    made = create_consortium(
        tmp_path / "c", name="a", hosts=["localhost"], now=NOW, validity=Validity(root_days=10, server_days=5)
    )
    config_file, later = made.folder / "consortium.yaml", NOW + timedelta(days=11)
    with pytest.raises(TrustError, match="root certificate expired on 2026-12-04; wardround server rotate --ca"):
        rotate_server_certificate(config_file, now=later)
    rotated = rotate_root(config_file, now=later)
    rotated.check(later)
    assert rotated.consortium.roots == (rotated.consortium.root.pem,)
    assert rotated.consortium.root != made.consortium.root


def test_crash_between_the_file_and_the_certificate_still_serves(
    installation: Installation, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("server.deploy.rotate.make_server_certificate", crash)
    with pytest.raises(KeyboardInterrupt):
        rotate_root(config_file, now=NOW)
    monkeypatch.undo()
    found = read_installation(config_file)
    found.check(NOW)
    assert len(found.consortium.roots) == 2
    assert found.server_chain == installation.server_chain
    rotate_server_certificate(config_file, now=NOW).check(NOW)
