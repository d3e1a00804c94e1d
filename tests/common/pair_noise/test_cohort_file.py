"""The cohort's file: what was written is read, and each wrong line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from common.pair_noise.cohort_file import Member, cohort_as_yaml, read_cohort

COHORT = {"north": Member(band="64-127", key="a" * 64), "south": Member(band="1-10", key="b" * 64)}


def test_cohort_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "cohort.yaml"
    path.write_text(cohort_as_yaml(COHORT))
    assert read_cohort(path) == COHORT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no hospital"),
        ("[north]", "names no hospital"),
        ("north: [", "cannot be read"),
        ("North Side: {band: 64-127, key: x}", "not a name"),
        ("north: 64-127", "band and key"),
        (f"north: {{band: 64-127, key: '{'a' * 64}', weight: 3}}", "band and key"),
        ("north: {band: 64-127, key: abc}", "key is no public key"),
        (f"north: {{band: 64-128, key: '{'a' * 64}'}}", "not a band"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "cohort.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as refused:
        read_cohort(path)
    assert str(path) in str(refused.value)
