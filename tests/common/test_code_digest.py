"""The digest of the code: of what is imported, wherever it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import wardround
from common.code_digest import code_digest

FILES = ("wardround.py", "common/a.py", "client/deep/b.py", "configs/base.yaml", "server/s.json", "strategies/r.py")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "here"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return root


def test_place_does_not_matter(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "a" / "longer" / "way"
    shutil.copytree(tree, other)
    assert code_digest(other) == code_digest(tree)


@pytest.mark.parametrize("name", FILES)
def test_each_file_matters(tree: Path, name: str) -> None:
    before = code_digest(tree)
    (tree / name).write_text("# changed\n")
    changed = code_digest(tree)
    (tree / name).rename(tree / f"{name}.py")
    assert len({before, changed, code_digest(tree) if name != "wardround.py" else "gone"}) == 3


@pytest.mark.parametrize("name", ["simulations/a.py", "common/readme.md", "common/__pycache__/a.pyc", "tests/a.py"])
def test_what_a_federation_does_not_import_does_not_matter(tree: Path, name: str) -> None:
    before = code_digest(tree)
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("anything")
    assert code_digest(tree) == before


def test_installed_code_is_the_default() -> None:
    assert code_digest() == code_digest(Path(wardround.__file__).parent)
