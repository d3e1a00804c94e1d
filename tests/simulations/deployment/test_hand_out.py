"""The studies of one folder in the hands of hospitals: all of them, to the right one, and readable as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import wardround
from common.errors import ConfigError, DataError
from common.types import BadRow, Lacks, Study, Unpaired
from simulations.deployment.folders import PUBLIC, studies_of
from simulations.deployment.hand_out import Source, shares_of

PACK = Path(os.environ.get("WARDROUND_DATA", Path(wardround.__file__).parents[1] / "shared" / "data")) / "medpix2"
HEADER = "Study_ID;patient_id;image_path;report;sex;age;race;site;findings;split_group;date;modality"


def written(root: Path, *rows: str, header: str = HEADER, encoding: str = "cp1252") -> Source:
    """A table as a department writes it, and six pictures."""
    (root / "images").mkdir(parents=True)
    for number in range(6):
        grey = np.linspace(0, 40 * (number + 1), 64, dtype=np.uint8).reshape(8, 8)
        PillowImage.fromarray(grey).save(root / "images" / f"{number}.png")
    (root / "manifest.csv").write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return Source(root=root)


def items(root: Path) -> Iterator[Study | Unpaired | BadRow]:
    return Source(root=root).folder.studies()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return written(
        tmp_path / "data",
        'S0;P0;images\\0.png;Größere Verschattung, 3 € links;F;045Y;White;Kinder-Klinik Süd;"a;b";G;2020-01-02;CT',
        "S1;P0;images/1.png;Two;w;90+;;Kinder-Klinik Süd;a;G;;",
        "S2;P1;images/2.png;;M;;;North;;;;",
        "S3;P2;;Only words;x;7;;North;;;;",
        "S4;P3;images/4.png;Public one;;;;public;;;;",
        "S5;P4;images/9.png;No such file;;;;North;;;;",
    )


def test_every_study_is_read_at_its_hospital_as_it_was(source: Source, tmp_path: Path) -> None:
    shares = shares_of(source)
    assert shares.sites == ("kinder-klinik-sud", "north")
    (bad,) = shares.hand_out(tmp_path)
    assert (bad.file, bad.row) == ("manifest.csv", 7)
    before = {item.record.study_id: item for item in items(source.root) if not isinstance(item, BadRow)}
    homes = {"kinder-klinik-sud": ("S0", "S1"), "north": ("S2", "S3")}
    for root, names in [(tmp_path / PUBLIC, ("S4",)), *((studies_of(tmp_path, site), homes[site]) for site in homes)]:
        found = list(items(root))
        assert [item.record.study_id for item in found] == list(names)
        for item in found:
            assert not isinstance(item, BadRow)
            was = before[item.record.study_id]
            # What was not understood is blank from here on; the folder is the hospital.
            assert item.record == replace(was.record, site=None, unread=())
            assert type(item) is type(was)
            if isinstance(item, Study) and isinstance(was, Study):
                assert np.array_equal(item.image, was.image)
            elif isinstance(item, Unpaired) and isinstance(was, Unpaired):
                assert item.lacks == was.lacks
                assert [image.tobytes() for image in item.images] == [image.tobytes() for image in was.images]
    assert {item.lacks for item in before.values() if isinstance(item, Unpaired)} == {Lacks.REPORT, Lacks.IMAGE}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("S9;P9;images/0.png;x;;;;;;;;", "names no hospital; fill in the column site"),
        ("S9;P9;images/0.png;x;;;;NORTH;;;;", "'North' cannot be a hospital's name"),
        ("S9;P9;images/0.png;x;;;;Public;;;;", "'Public' cannot be a hospital's name"),
        ("S9;P9;images/0.png;x;;;;Centre;;;;", "'Centre' cannot be a hospital's name"),
        ("S9;P9;images/0.png;x;;;;?!;;;;", "'?!' cannot be a hospital's name"),
    ],
)
def test_hospital_without_a_name_of_its_own_is_refused(tmp_path: Path, row: str, words: str) -> None:
    rows = ("S0;P0;images/0.png;x;;;;North;;;;", "S1;P1;images/1.png;x;;;;public;;;;", row)
    source = written(tmp_path / "data", *rows)
    with pytest.raises(DataError) as refused:
        shares_of(source)
    assert words in str(refused.value)


def test_folder_without_public_studies_or_with_another_column_is_refused(source: Source, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column sit is missing; did you mean site"):
        shares_of(replace(source, site_column="sit"))
    with pytest.raises(ConfigError, match=r"data\.adapter=manifst"):
        shares_of(replace(source, adapter="manifst"))
    alone = written(tmp_path / "alone", "S0;P0;images/0.png;x;;;;North;;;;")
    with pytest.raises(DataError, match="holds no public study"):
        shares_of(alone)


@pytest.mark.skipif(not PACK.is_dir(), reason=f"the pack of real studies is not there: {PACK}")
def test_pack_of_real_studies_is_shared_by_its_regions() -> None:
    shares = shares_of(Source(root=PACK, adapter="medpix2", split="split_1"))
    assert shares.sites == ("abdomen", "gu", "head", "spine_msk", "thorax")
