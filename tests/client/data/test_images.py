"""Image files below a data root: found, or refused; the root is never left."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.data.images import locate
from common.types import UnusableRow


def test_locate_finds_a_file_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    assert locate(tmp_path, "images/a.png") == (tmp_path / "images" / "a.png").resolve()
    assert locate(tmp_path, "images/../images/a.png") == (tmp_path / "images" / "a.png").resolve()


@pytest.mark.parametrize("relative", ["../secret.png", "/etc/hostname", "images/../../secret.png", "link.png"])
def test_locate_refuses_what_leaves_the_root(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (tmp_path / "secret.png").touch()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UnusableRow, match="leaves the data root"):
        locate(root, relative)


@pytest.mark.parametrize("relative", ["", ".", "missing.png", "a\0.png", "x" * 5000, "loop"])
def test_locate_refuses_what_is_no_file(tmp_path: Path, relative: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UnusableRow, match=r"is missing|not a usable file name"):
        locate(tmp_path, relative)
