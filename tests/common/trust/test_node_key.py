"""The node key: Flower's own loaders and ssh-keygen take it, and it signs for one purpose."""

from __future__ import annotations

import argparse
import shutil
import stat
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from common.errors import TrustError
from common.trust.node_key import NodeKey, NodePublicKey

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node_key"


@pytest.fixture
def key(path: Path) -> NodeKey:
    return NodeKey.create(path)


def ssh_keygen(*arguments: str | Path) -> str:
    return subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=True).stdout


def openssh_pem(private: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def test_key_file_is_private_and_gives_the_same_key(path: Path, key: NodeKey) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert NodeKey.load(path).public == key.public
    parsed = load_ssh_private_key(path.read_bytes(), password=None)
    assert isinstance(parsed, ec.EllipticCurvePrivateKey)
    assert isinstance(parsed.curve, ec.SECP384R1)


@needs_ssh_keygen
def test_ssh_keygen_reads_the_key_and_shows_the_same_fingerprint(path: Path, key: NodeKey) -> None:
    assert ssh_keygen("-y", "-P", "", "-f", path).split()[:2] == key.public.openssh.split()
    assert key.public.fingerprint in ssh_keygen("-l", "-f", path)
    assert "(ECDSA)" in ssh_keygen("-l", "-f", path)


@needs_ssh_keygen
def test_key_that_ssh_keygen_made_is_read(path: Path) -> None:
    ssh_keygen("-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", path)
    made = path.with_suffix(".pub").read_text().split()
    assert NodeKey.load(path).public.openssh == " ".join(made[:2])


def test_flower_takes_the_private_key_of_a_supernode(path: Path, key: NodeKey) -> None:
    flower_supernode = import_module("flwr.supernode.cli.flower_supernode")
    asked = argparse.Namespace(auth_supernode_private_key=str(path), auth_supernode_public_key=None)
    found = flower_supernode._try_setup_client_authentication(asked)
    assert found is not None
    assert found[1].public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() == key.public.openssh


def test_flower_takes_the_public_key_that_is_registered(tmp_path: Path, key: NodeKey) -> None:
    register = import_module("flwr.cli.supernode.register")
    (tmp_path / "hospital-1.pub").write_text(f"{key.public.openssh} hospital-1\n")
    assert register.try_load_public_key(tmp_path / "hospital-1.pub").startswith(b"-----BEGIN PUBLIC KEY-----")


@pytest.mark.usefixtures("key")
def test_existing_key_is_never_written_over(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TrustError, match="exists already"):
        NodeKey.create(path)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("key")
def test_private_key_that_others_can_read_is_refused(path: Path) -> None:
    path.chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        NodeKey.load(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no private key"),
        (b"not a key", "holds no private key"),
        (openssh_pem(ec.generate_private_key(ec.SECP256R1())), "another kind"),
        (openssh_pem(Ed25519PrivateKey.generate()), "another kind"),
    ],
    ids=["empty", "text", "P-256", "Ed25519"],
)
def test_file_without_a_node_key_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TrustError, match=f"node_key: .*{said}"):
        NodeKey.load(path)


@needs_ssh_keygen
def test_key_with_a_passphrase_is_refused(path: Path) -> None:
    ssh_keygen("-q", "-t", "ecdsa", "-b", "384", "-N", "secret", "-f", path)
    with pytest.raises(TrustError, match="without a passphrase"):
        NodeKey.load(path)


def test_public_line_that_is_not_the_one_way_to_write_it_is_refused(key: NodeKey) -> None:
    p256 = ec.generate_private_key(ec.SECP256R1()).public_key()
    lines = [
        "",
        "ecdsa-sha2-nistp384",
        f"{key.public.openssh} comment",
        f"{key.public.openssh}\n",
        f"{key.public.openssh[:-4]}AAAA",
        p256.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        "\ud800",
    ]
    for line in lines:
        with pytest.raises(TrustError):
            NodePublicKey(line)


def test_signature_holds_for_its_message_purpose_and_key_alone(tmp_path: Path, key: NodeKey) -> None:
    signature = key.sign(b"message", purpose="site request")
    key.public.verify(signature, b"message", purpose="site request")
    other = NodeKey.create(tmp_path / "other").public
    wrong = [
        lambda: key.public.verify(signature, b"messagf", purpose="site request"),
        lambda: key.public.verify(signature, b"message", purpose="site"),
        lambda: key.public.verify(b"", b"message", purpose="site request"),
        lambda: other.verify(signature, b"message", purpose="site request"),
    ]
    for verify in wrong:
        with pytest.raises(TrustError, match="does not hold"):
            verify()


def test_nothing_of_the_private_key_is_shown(path: Path, key: NodeKey) -> None:
    private = path.read_text().splitlines()[2]
    assert private not in repr(key) + repr(vars(key))
