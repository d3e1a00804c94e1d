"""A hospital's small databases: private, kept over a kill, and one clear line where they cannot be used."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from client.private_database import Layout, private_database
from common.errors import DataError

LAYOUT = Layout(
    version=2,
    schema="CREATE TABLE IF NOT EXISTS notes (text TEXT);",
    outlasts_power=True,
    error=DataError,
    use="import",
    remedy="make room",
)
KILLED = """
import os, sys
from pathlib import Path
from client.private_database import private_database
from tests.client.test_private_database import LAYOUT
with private_database(Path(sys.argv[1]), LAYOUT) as connection:
    with connection:
        connection.execute("INSERT INTO notes VALUES ('kept')")
    connection.execute("INSERT INTO notes VALUES ('in flight')")
    os.kill(os.getpid(), 9)
"""


def test_file_is_its_owners_alone_and_so_is_what_lies_beside_it(tmp_path: Path) -> None:
    with private_database(tmp_path / "x", LAYOUT) as connection, connection:
        connection.execute("INSERT INTO notes VALUES ('a')")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.keys() > {"x"}, "SQLite keeps a log beside it"
    assert set(modes.values()) == {0o600}


def test_killed_process_leaves_what_it_had_written_whole(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], check=False)
    assert done.returncode == -9
    with private_database(tmp_path / "x", LAYOUT) as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("kept",)]


def test_file_of_another_version_is_refused_and_kept(tmp_path: Path) -> None:
    with private_database(tmp_path / "x", replace(LAYOUT, version=3)) as connection, connection:
        connection.execute("INSERT INTO notes VALUES ('a')")
    before = (tmp_path / "x").read_bytes()
    words = f"{tmp_path / 'x'}: is of another version of wardround; import with that one"
    with pytest.raises(DataError) as refused, private_database(tmp_path / "x", LAYOUT):
        pass
    assert str(refused.value) == words
    assert (tmp_path / "x").read_bytes() == before


def test_what_disk_or_file_refuse_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "no" / "x", "No such file"), (tmp_path, "directory")):
        with pytest.raises(DataError, match=rf"{words}.*; make room$"), private_database(path, LAYOUT):
            pass
    with pytest.raises(DataError, match="no such table: other"), private_database(tmp_path / "x", LAYOUT) as connection:
        connection.execute("SELECT * FROM other")
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT * FROM notes")
