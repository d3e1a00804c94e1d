"""The command's groups: listed without loading anything, and one import for the command that is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import wardround


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process that fails where it loaded a heavy package."""
    heavy = "{'torch', 'flwr', 'dp_accounting', 'sqlite3'}"
    script = f"import sys, wardround\ntry: wardround.main()\nfinally: assert not {heavy} & set(sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(wardround.__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_general_help_lists_every_command_by_its_full_name() -> None:
    done = ended("--help")
    assert done.returncode == 0, done.stderr
    for name, (_, purpose) in wardround.COMMANDS.items():
        assert f"\n  {name} " in done.stdout
        assert len(purpose) <= 62, "one line on a terminal of 80 columns"


@pytest.mark.parametrize("group", sorted(wardround.GROUPS))
def test_group_help_lists_its_own_commands(group: str) -> None:
    done = ended(group, "--help")
    assert done.returncode == 0, done.stderr
    assert wardround.GROUPS[group] in done.stdout
    split = [name.partition(" ") for name in wardround.COMMANDS]
    own = {rest for first, _, rest in split if first == group}
    for _, _, rest in split:
        assert (f"\n  {rest} " in done.stdout) == (rest in own)
    assert ended(group).returncode == 2


@pytest.mark.parametrize("arguments", [("sit",), ("site", "budge"), ("site", "simulate"), ("site budget",), ("site ",)])
def test_unknown_command_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = ended(*arguments)
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_every_group_is_described_and_used() -> None:
    assert set(wardround.GROUPS) == {first for first, _, rest in (n.partition(" ") for n in wardround.COMMANDS) if rest}


@pytest.mark.parametrize("name", sorted(wardround.COMMANDS))
def test_every_command_can_be_loaded_and_says_how_it_is_called(name: str) -> None:
    found: click.Command | None = wardround.cli
    for word in name.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    assert found.name == name.split()[-1]
    assert all("\n" not in paragraph for paragraph in str(found.help).split("\n\n")), "a terminal breaks its lines"
    assert all(getattr(parameter, "help", "") for parameter in found.params)


def test_full_disk_is_one_line_that_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: both end a write(2) that names no file."""
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); "
        "import wardround; sys.argv = ['wardround', 'simulate']; wardround.main()"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=Path(wardround.__file__).parent,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"wardround: {tmp_path}")
    assert "File too large; nothing that was written before is lost: make room" in said
