"""Studies read once, encoded once, and cut so that no patient stands on two sides."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from client.data.splits import PUBLIC_SITE, Role
from common.config.load import load_config
from common.encoders.registry import ENCODERS
from common.errors import ConfigError, DataError
from common.types import Lacks
from simulations.studies.consortium import Consortium
from simulations.studies.read import read_consortium

COLUMNS = ("study_id", "patient_id", "image_path", "report", "site", "split_group")


@pytest.fixture(scope="module")
def read(tiny_overrides: list[str]) -> Callable[..., Consortium]:
    def build(*overrides: str) -> Consortium:
        config = load_config([*tiny_overrides, *overrides])
        return read_consortium(config, ENCODERS.load("scratch")(config.encoder), progress=lambda _: None)

    return build


@pytest.fixture(scope="module")
def synthetic(read: Callable[..., Consortium]) -> Consortium:
    return read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty patients at two hospitals, the first with two studies, out of the order of their names."""
    rows = []
    for number in reversed(range(31)):
        patient = f"p{number % 30:02d}"
        pixels = np.full((32, 32), number * 8, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        site = ("ost", "west")[number % 30 % 2]
        rows.append((f"s{number}", patient, f"{number}.png", f"Report {number}.", site, patient))
    _write(tmp_path, rows)
    return tmp_path


def _write(folder: Path, rows: list[tuple[str, ...]]) -> None:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def _rows(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def test_every_study_stands_on_one_side(synthetic: Consortium) -> None:
    private, held_out = synthetic.private(synthetic.sites), synthetic.held_out(synthetic.sites)
    num_studies = len(synthetic.public().images) + len(private.images) + len(held_out.images)
    assert num_studies == len(synthetic.records) == len(synthetic.images) == len(synthetic.reports)


def test_no_patient_stands_on_two_sides(read: Callable[..., Consortium], folder: Path) -> None:
    for seed in range(5):
        found = read("data.adapter=manifest", f"data.root={folder}", f"seed={seed}")
        by_patient: dict[str, set[Role]] = {}
        for record, role in zip(found.records, found.roles, strict=True):
            by_patient.setdefault(record.patient_id, set()).add(role)
        assert all(len(roles) == 1 for roles in by_patient.values())


def test_synthetic_anchors_are_the_public_site_alone(synthetic: Consortium) -> None:
    for record, role in zip(synthetic.records, synthetic.roles, strict=True):
        assert (record.site == PUBLIC_SITE) == (role is Role.PUBLIC)
    assert PUBLIC_SITE not in synthetic.sites


def test_private_studies_are_sorted_by_patient_and_numbered_without_gaps(
    read: Callable[..., Consortium], folder: Path
) -> None:
    found = read("data.adapter=manifest", f"data.root={folder}", "data.test_fraction=0.1", "data.public_fraction=0.1")
    for site in found.sites:
        numbers = found.private([site]).patients.tolist()
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(len(set(numbers))))
    everyone = found.private(found.sites)
    assert len(everyone.images) == sum(len(found.private([site]).images) for site in found.sites)


def test_features_stay_with_their_study(read: Callable[..., Consortium], folder: Path) -> None:
    """Each picture is of one grey level, which names its study."""
    found = read("data.adapter=manifest", f"data.root={folder}")
    level = {record.study_id: int(record.study_id[1:]) * 8 for record in found.records}
    order = [level[record.study_id] for record in found.records]
    means = found.images.flatten(1).float().mean(dim=1)
    assert torch.equal(means.argsort(), torch.tensor(order).argsort())
    for position, picture in found.pictures.items():
        assert found.roles[position] is Role.TEST
        assert picture.flat[0] == order[position]


def test_fixed_split_is_followed_and_leaves_out_what_it_does_not_name(
    read: Callable[..., Consortium], folder: Path
) -> None:
    lines = [f"p{n:02d},{('public', 'train', 'train', 'test')[n // 2 % 4]}" for n in range(28)]
    (folder / "splits.csv").write_text("\n".join(["split_group,fixed", *lines]), encoding="utf-8")
    found = read("data.adapter=manifest", f"data.root={folder}", "data.split=fixed")
    assert {record.patient_id for record in found.records} == {f"p{n:02d}" for n in range(28)}
    for record, role in zip(found.records, found.roles, strict=True):
        assert role == ("public", "train", "train", "test")[int(record.patient_id[1:]) // 2 % 4]


def test_anchors_digest_names_the_anchors_and_nothing_else(read: Callable[..., Consortium], folder: Path) -> None:
    options = ("data.adapter=manifest", f"data.root={folder}")
    found = read(*options)
    assert read(*options).anchors_digest == found.anchors_digest
    assert read(*options, "data.public_fraction=0.4").anchors_digest != found.anchors_digest
    public = {record.study_id for record, role in zip(found.records, found.roles, strict=True) if role is Role.PUBLIC}
    rows = _rows(folder)
    _write(folder, [(*row[:3], row[3] + (" Changed." if row[0] not in public else ""), *row[4:]) for row in rows])
    assert read(*options).anchors_digest == found.anchors_digest
    _write(folder, [(*row[:3], row[3] + (" Changed." if row[0] in public else ""), *row[4:]) for row in rows])
    assert read(*options).anchors_digest != found.anchors_digest


def test_bad_rows_stop_the_run_with_the_file_the_row_and_the_remedy(
    read: Callable[..., Consortium], folder: Path
) -> None:
    rows = _rows(folder)
    _write(folder, [*rows[:4], (*rows[4][:2], "missing.png", *rows[4][3:]), *rows[5:]])
    with pytest.raises(DataError, match=r"first manifest\.csv row 6: image file is missing") as caught:
        read("data.adapter=manifest", f"data.root={folder}")
    remedy = re.search(r"data\.max_bad_\w+=[\d.]+", str(caught.value))
    assert remedy is not None
    found = read("data.adapter=manifest", f"data.root={folder}", remedy[0])
    assert [(row.file, row.row) for row in found.bad_rows] == [("manifest.csv", 6)]
    assert len(found.records) == len(rows) - 1


def test_missing_root_is_refused(read: Callable[..., Consortium]) -> None:
    with pytest.raises(ConfigError, match=r"data\.root: missing; data\.adapter=manifest"):
        read("data.adapter=manifest")


def test_folder_without_studies_is_refused(read: Callable[..., Consortium], tmp_path: Path) -> None:
    _write(tmp_path, [])
    with pytest.raises(DataError, match=r"data\.root=.*holds no study"):
        read("data.adapter=manifest", f"data.root={tmp_path}")


def test_split_that_leaves_a_side_empty_is_refused(read: Callable[..., Consortium], folder: Path) -> None:
    lines = [f"p{n:02d},{('public', 'train')[n % 2]}" for n in range(30)]
    (folder / "splits.csv").write_text("\n".join(["split_group,fixed", *lines]), encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.split: no test studies; change data\.split"):
        read("data.adapter=manifest", f"data.root={folder}", "data.split=fixed")


def test_cached_features_are_the_computed_ones(
    tiny_overrides: list[str], synthetic: Consortium, tmp_path: Path
) -> None:
    fresh: Any = load_config([*tiny_overrides, f"encoder.cache={tmp_path}"])
    found = read_consortium(fresh, ENCODERS.load("scratch")(fresh.encoder), progress=lambda _: None)
    assert torch.equal(found.images, synthetic.images)
    assert torch.equal(found.reports, synthetic.reports)
    assert found.anchors_digest == synthetic.anchors_digest


def test_unpaired_studies_take_part_where_the_loss_names_them(read: Callable[..., Consortium], folder: Path) -> None:
    """Every patient has a lone image more and four have nothing else: they train, and move nobody else's side."""
    rows = _rows(folder)
    lone = [(f"u{i}", f"p{i:02d}", f"{i}.png", "", ("ost", "west")[i % 2], f"p{i:02d}") for i in range(30)]
    lone += [(f"v{i}", f"n{i}", "", "A report.", "ost", f"n{i}") for i in range(4)]
    _write(folder, rows + lone)
    data = ("data.adapter=manifest", f"data.root={folder}")
    without, with_them = (read(*data, f"loss.name=anchor_contrast{name}") for name in ("", "+unpaired"))
    assert (without.unpaired.without_report, without.unpaired.without_image) == (30, 4)
    assert without.unpaired == with_them.unpaired
    assert without.records == with_them.trained_by(load_config(["loss.name=in_batch"]).loss).records
    lacking = [i for i, record in enumerate(with_them.records) if record.lacks is not None]
    assert {with_them.roles[i] for i in lacking} == {Role.TRAIN}
    assert {with_them.records[i].lacks for i in lacking} == {Lacks.IMAGE, Lacks.REPORT}
    assert with_them.held_out(with_them.sites).records == without.held_out(without.sites).records
    lacks = [record.lacks for record in with_them.private_records(with_them.sites)]
    halves = with_them.private(with_them.sites).halves
    assert halves is not None
    assert halves.tolist() == [[which is not Lacks.IMAGE, which is not Lacks.REPORT] for which in lacks]
    assert without.private(without.sites).halves is None
    pairs = with_them.private_with_first_images(with_them.sites)
    assert torch.equal(pairs.images, without.private_with_first_images(without.sites).images)


def test_hospital_of_unpaired_studies_alone_takes_no_part(read: Callable[..., Consortium], folder: Path) -> None:
    _write(folder, _rows(folder) + [(f"u{i}", f"n{i}", f"{i}.png", "", "north", f"n{i}") for i in range(9)])
    found = read("data.adapter=manifest", f"data.root={folder}", "loss.name=anchor_contrast+unpaired")
    assert found.sites == ("ost", "west")
    assert found.unpaired.without_report == 9
