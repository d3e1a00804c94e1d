"""The README's own commands for a model by itself, on a tiny run, and what becomes of a user's mistakes."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import wardround
from common.errors import WardroundError
from tests.conftest import FinishedRun

ROOT = Path(wardround.__file__).parent
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## The model by itself\n")[1].split("\n## ")[0]


def exit_code(*arguments: str) -> int:
    """What the command line ends with; an error is one line."""
    try:
        return int(wardround.cli.main(list(arguments), standalone_mode=False) or 0)
    except WardroundError as error:
        assert "\n" not in str(error)
        return error.exit_code


@pytest.fixture
def folder(finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user stands: a run in runs/first, and a folder with pictures and a manifest."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(finished_run.folder)
    (tmp_path / "PATH").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for path in (tmp_path / "PATH" / "a.png", tmp_path / "image.png"):
        PIL.Image.fromarray(pixels).save(path)
    table = "study_id,patient_id,image_path,report\ns1,p1,a.png,small left pleural effusion\n"
    (tmp_path / "PATH" / "manifest.csv").write_text(table, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_commands_and_python_run_as_they_stand(folder: Path) -> None:
    (shell,) = re.findall(r"^```sh\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True)[1:] for line in shell.splitlines() if "--onnx" not in line]
    # The manifest lies beside the pictures, and is no picture: that is said, and ends with 1.
    assert [exit_code(*arguments) for arguments in lines] == [int("--images" in arguments) for arguments in lines]
    (python,) = re.findall(r"^```python\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    told: dict[str, Any] = {}
    exec(python, told)  # noqa: S102 - the README's own words
    with np.load(folder / "images.npz") as images, np.load(folder / "reports.npz") as reports:
        assert (images["ids"].tolist(), reports["ids"].tolist()) == (["a.png"], ["s1"])
        assert (told["codes"] == reports["codes"]).all()
        assert (told["other"] == images["codes"]).all()


def test_what_a_user_breaks_ends_in_one_line_with_its_code(folder: Path) -> None:
    assert exit_code("model", "export", "runs/first", "--out", "model") == 0
    with (folder / "model" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    there = sorted(folder.iterdir())
    texts = ("--texts", "PATH/manifest.csv", "--out", "a.npz")
    assert exit_code("model", "verify", "model") == 4
    assert exit_code("encode", "--model", "model", *texts) == 4
    assert exit_code("encode", "--model", "PATH", *texts) == 2
    assert exit_code("model", "verify", "PATH") == 2
    assert exit_code("model", "export", "runs/first", "--out", "model") == 2
    assert exit_code("model", "export", "PATH", "--out", "other") == 2
    assert sorted(folder.iterdir()) == there, "nothing half-written"
