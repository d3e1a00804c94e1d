"""A consortium from its first key to a revocation, by its commands alone: two sides that share nothing but files."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import wardround
from client.deploy.identity import read_identity
from server.deploy.installation import read_installation
from tests.common.trust.pki import handshake

ROOT = Path(wardround.__file__).parent


def run(*arguments: str | Path, cwd: Path) -> str:
    """A command's output, in a process of its own where it asks no one."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import wardround; wardround.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hospital_joins_is_served_over_tls_outlives_a_new_root_and_is_revoked(tmp_path: Path) -> None:
    centre, hospital, now = tmp_path / "centre", tmp_path / "hospital", datetime.now(UTC)
    hospital.mkdir()
    run("server", "init", centre, "--name", "north-sea", "--host", "localhost", cwd=tmp_path)
    sent = hospital / "consortium.json"
    sent.write_bytes((centre / "consortium.json").read_bytes())
    shown = run("site", "init", "state", "--consortium", sent, "--name", "hospital-1", "--yes", cwd=hospital)
    compared = shown.splitlines()[-1].partition(": ")[2]
    assert compared in run("server", "admit", hospital / "state" / "request.json", "--yes", cwd=centre)
    answer = centre / "admissions" / "hospital-1.json"
    run("site", "join", "state", answer, cwd=hospital)
    member = read_identity(hospital / "state", now=now)
    served = read_installation(centre / "consortium.yaml").server_file
    assert handshake(served, member.roots_file.read_text()) == "hello"

    run("server", "rotate", "--ca", cwd=centre)
    assert handshake(served, member.roots_file.read_text()) == "hello", "the site has not taken the new root yet"
    run("site", "join", "state", answer, cwd=hospital)
    renewed = read_identity(hospital / "state", now=now)
    assert len(renewed.consortium.roots) == 2
    assert handshake(served, renewed.consortium.roots[-1]) == "hello"

    run("server", "revoke", "hospital-1", "--reason", "study ended", cwd=centre)
    assert not answer.exists()
    assert list((centre / "nodes").iterdir()) == []
