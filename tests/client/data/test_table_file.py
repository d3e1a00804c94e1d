"""Files of tables: plain before compressed, damaged and too large ones refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from client.data import table_file
from client.data.table_file import find_table, require_table, table_bytes
from common.errors import DataError


def test_find_table_takes_plain_before_compressed_and_the_first_name_before_the_second(tmp_path: Path) -> None:
    assert find_table(tmp_path, "a.csv", "b.csv") is None
    for name in ("b.csv", "a.csv.gz", "a.csv"):
        (tmp_path / name).write_bytes(b"")
        assert find_table(tmp_path, "a.csv", "b.csv") == tmp_path / name
    with pytest.raises(DataError, match=r"c\.csv or d\.csv cannot be read; set data\.root"):
        require_table(tmp_path, "c.csv", "d.csv")


@pytest.mark.parametrize(
    ("kept", "end"), [(slice(0, -9), b""), (slice(0, 0), b"no gzip"), (slice(0, 12), b"\xff" * 20)]
)
def test_table_bytes_names_a_damaged_file(tmp_path: Path, kept: slice, end: bytes) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 99))
    assert table_bytes(path) == b"a,b\n1,2\n" * 99
    path.write_bytes(path.read_bytes()[kept] + end)
    with pytest.raises(DataError, match=r"a\.csv\.gz: damaged \(gzip\); fetch it again"):
        table_bytes(path)


def test_table_bytes_stops_at_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "MOST_TABLE_BYTES", 100)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"0" * (1 << 20)))
    with pytest.raises(DataError, match=r"bomb\.csv\.gz: holds more than 100 bytes"):
        table_bytes(path)
