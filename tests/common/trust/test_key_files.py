"""Private files and folders: for their owner alone, whole or absent, never written over."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from common.errors import ConfigError, TrustError
from common.trust.key_files import new_private_folder, read_private, write_private


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_private_file_is_read_back_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    write_private(path, b"content")
    assert mode_of(path) == 0o600
    assert read_private(path) == b"content"
    assert names_in(path.parent) == ["key"]


def test_private_file_is_never_written_over(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"first")
    with pytest.raises(TrustError, match="key: exists already"):
        write_private(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert names_in(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o610])
def test_private_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "key", b"content")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(TrustError, match=rf"mode {mode:04o}\); chmod 600 .*key") as refused:
        read_private(tmp_path / "key")
    assert "content" not in str(refused.value)


def test_missing_private_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="none: cannot be read"):
        read_private(tmp_path / "none")
    with pytest.raises(TrustError, match="no key can be written there"):
        write_private(Path("/dev/null/key"), b"")


@pytest.mark.parametrize("there", [False, True], ids=["absent", "empty"])
def test_private_folder_appears_when_it_is_whole(tmp_path: Path, there: bool) -> None:  # noqa: FBT001 - a parameter
    path = tmp_path / "state"
    if there:
        path.mkdir(mode=0o755)
    with new_private_folder(path, remedy="give another") as lent:
        (lent / "key").write_bytes(b"content")
        assert not (path / "key").exists()
    assert (mode_of(path), (path / "key").read_bytes()) == (0o700, b"content")
    assert names_in(tmp_path) == ["state"]


def test_private_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="halfway"), new_private_folder(tmp_path / "state", remedy="") as lent:
        (lent / "key").write_bytes(b"content")
        raise TrustError("halfway")
    assert names_in(tmp_path) == []


def test_private_folder_never_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "key").write_bytes(b"old")
    (tmp_path / "file").write_bytes(b"")
    for name in ("state", "file"):
        refused = pytest.raises(ConfigError, match=f"{name}: is there already.*; give another")
        with refused, new_private_folder(tmp_path / name, remedy="give another"):
            pytest.fail("the block must not run")
    assert (tmp_path / "state" / "key").read_bytes() == b"old"


def test_private_folder_yields_to_one_that_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with pytest.raises(ConfigError, match="cannot be made"), new_private_folder(path, remedy="give another") as lent:
        (lent / "key").write_bytes(b"late")
        path.mkdir()
        (path / "key").write_bytes(b"early")
    assert (path / "key").read_bytes() == b"early"
    assert names_in(tmp_path) == ["state"]
