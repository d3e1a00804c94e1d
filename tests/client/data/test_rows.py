"""Tables: line numbers, encodings, and what is wrong with a row."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.rows import Row, Table, read_table
from common.errors import DataError
from common.types import BadRow, UnusableRow

FIELD = st.text(st.sampled_from('ab ,";\n\r'), max_size=6)


def table_of(text: str | bytes, *, required: tuple[str, ...] = ("a",), site_column: str = "site") -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path, required=required, site_column=site_column)


@given(rows=st.lists(st.tuples(FIELD, FIELD), max_size=8), ending=st.sampled_from(["\n", "\r\n"]))
def test_read_table_lines_count_the_newlines_before_each_row(rows: list[tuple[str, str]], ending: str) -> None:
    text, expected = "a,b" + ending, []
    for row in rows:
        # A row of blanks is passed over. Lines end with LF, CR LF or a lone CR, inside of quotes too.
        if any(field.strip() for field in row):
            expected.append(text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1)
        buffer = io.StringIO(newline="")
        csv.writer(buffer, lineterminator=ending, quoting=csv.QUOTE_ALL).writerow(row)
        text += buffer.getvalue()
    table = table_of(text)
    assert [row.line for row in table.rows] == expected
    said = [(a.strip(), b.strip()) for a, b in rows if a.strip() or b.strip()]
    assert [(row.values["a"], row.values["b"]) for row in table.rows] == said


def test_read_table_blank_lines_are_passed_over_and_counted() -> None:
    table = table_of("a\n\n\nx\n\ny\n")
    assert [(row.line, row.values["a"]) for row in table.rows] == [(4, "x"), (6, "y")]


def test_read_table_tolerates_a_byte_order_mark() -> None:
    assert table_of(b"\xef\xbb\xbfa,b\n1,2\n").columns == ("a", "b")


def test_read_table_lists_a_row_of_wrong_width() -> None:
    table = table_of("a,b\n1,2\n1\n1,2,3\n")
    assert table.rows[0] == Row(2, {"a": "1", "b": "2"})
    assert table.rows[1] == BadRow("table.csv", 3, "the row has 1 fields and the header 2")
    assert table.rows[2] == BadRow("table.csv", 4, "the row has 3 fields and the header 2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"a,a\n", "line 1 names a column twice"),
        (b"patient,b\n1,2\n", "column a is missing"),
        (b"a\nx\nM\x81ller\n", "line 3 is neither UTF-8 nor another known encoding"),
        ("a\nM\u00fcller, K\u00f6ln\n".encode() + b"\xc3\n", "line 3 is neither UTF-8"),  # cut within a character
        (b"\xff\xfea\x00\n", "line 1 is neither UTF-8"),
        (b'a,b\n1,2\n"never closed,2\n3,4\n', "row that starts on line 3 is wrongly quoted"),
        (b'a,b\n"1"x,2\n', "row that starts on line 2 is wrongly quoted"),
    ],
)
def test_read_table_refuses_a_table_that_cannot_be_trusted(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table_of(content)
    assert not isinstance(caught.value, UnusableRow)
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_table_names_the_column_that_was_meant() -> None:
    with pytest.raises(DataError, match="column patient_id is missing; did you mean patientid"):
        table_of("study_id,patientid\n", required=("patient_id",))


def test_read_table_missing_file_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.csv: cannot be read .*data\.root"):
        read_table(tmp_path / "manifest.csv", required=("a",))


def test_read_table_needs_the_site_column_that_was_asked_for() -> None:
    assert table_of("a\n", site_column="site").columns == ("a",)
    with pytest.raises(DataError, match="column hospital is missing; did you mean hospitals"):
        table_of("a,hospitals\n", site_column="hospital")


@pytest.mark.parametrize(
    ("text", "age"),
    [("", None), ("0", 0), ("67", 67), ("67.0", 67), ("67.9", 67), (" 5 ", 5), ("120", 120)],
)
def test_row_age_reads_completed_years(text: str, age: int | None) -> None:
    assert table_of(f"a,age\nx,{text}\n").rows[0].demographics.age == age


def test_row_findings_are_cut_at_semicolons_and_named_once() -> None:
    assert Row(2, {"findings": "effusion; mass;;effusion ;"}).findings == ("effusion", "mass")
    assert Row(2, {}).findings == ()
