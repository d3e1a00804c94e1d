"""A run's device is asked for before anything is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wardround
from common.device import check_device, check_device_word, devices_here
from common.errors import ConfigError


def test_cpu_is_everywhere() -> None:
    check_device("cpu")
    assert devices_here()[0] == "cpu"


@pytest.mark.parametrize("word", ["gpu", "cuda:x", "", "cpu cuda", "[bold]"])
def test_word_that_is_no_device_is_one_line(word: str) -> None:
    with pytest.raises(ConfigError, match="no such device; give one such as cpu, cuda") as told:
        check_device_word(word)
    assert "\n" not in str(told.value)


def test_gpu_beyond_those_that_are_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(ConfigError, match=r"device=cuda:2: is not on this machine, which has cpu, cuda:0 \(GPU 0\)"):
        check_device("cuda:2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_first_thing_that_a_hospital_types_ends_with_two_before_anything_is_read(tmp_path: Path) -> None:
    arguments = [
        "simulate",
        "device=cuda",
        "data.adapter=manifest",
        "data.root=nowhere",
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", "import wardround; wardround.main()", *arguments],
        cwd=Path(wardround.__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("wardround: device=cuda: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()
