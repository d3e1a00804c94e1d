"""Studies on the disk train the model that studies in memory train; of a study's images each is drawn as often."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from client.dp.randomness import KeystreamRandomness
from client.dp.records import Records, sample_patients
from client.site import HeldOut, Site
from client.store.arrays import ArrayWriter, StoredArray
from client.store.rows import StoredRecords, StoredRows
from client.training.train import train
from common.config.load import load_config
from common.encoders.dual import embed_in_batches
from common.encoders.public_fit import AnchorFeatures, FrozenPart, fresh_model
from common.encoders.registry import ENCODERS
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.wire.update import model_arrays

EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.5, steps=3)
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, expected_patients=6.5, learning_rate=0.1, public_weight=0.0)
PIXELS = [
    "encoder.trainable=all",
    "encoder.width=16",
    "encoder.num_heads=2",
    "encoder.image_depth=1",
    "encoder.report_depth=1",
    "encoder.image_size=16",
    "encoder.patch_size=8",
    "encoder.embedding_dim=6",
    "code.bit_width=48",
    "code.num_centres=4",
    "loss.num_anchors=20",
    "training.steps_per_round=3",
    "training.chunk_size=4",
    "training.augmentations=1",
]


def stored(rows: Tensor, folder: Path, name: str = "a") -> StoredRows:
    """Rows in a file, one a study."""
    path = folder / f"{name}.npy"
    with path.open("wb") as file:
        writer = ArrayWriter(file, num_rows=len(rows))
        writer.add(rows)
        writer.finish()
    return StoredRows(StoredArray.open(path), np.arange(len(rows)), np.ones(len(rows), dtype=np.int64))


def on_disk(records: Records, folder: Path) -> StoredRecords:
    images, reports = stored(records.images, folder, "images"), stored(records.reports, folder, "reports")
    return StoredRecords(images, reports, records.patients)


def pixel_site(tiny_site: Site) -> Site:
    """A site that trains an image tower on pixels."""
    config = load_config(PIXELS)
    encoder, generator = ENCODERS.load("scratch")(config.encoder), torch.Generator().manual_seed(0)

    def pairs(number: int) -> tuple[Tensor, Tensor]:
        images = torch.randint(0, 256, (number, 16, 16), generator=generator, dtype=torch.uint8)
        return images, torch.randint(1, 50, (number, config.encoder.max_tokens), generator=generator)

    model = fresh_model(encoder, config)
    model.hash_head.set_prototypes(torch.randn(40, 6, generator=generator), generator=generator)
    private = Records(*pairs(15), tiny_site.private.patients)
    anchors = AnchorFeatures(*pairs(30), torch.arange(30))
    return replace(tiny_site, config=config, model=model, private=private, anchors=anchors)


@pytest.mark.parametrize("is_private", [False, True])
@pytest.mark.parametrize("kind", ["heads", "pixels"])
def test_model_from_the_disk_is_that_from_memory_bit_for_bit(
    tiny_site: Site, tmp_path: Path, kind: str, *, is_private: bool
) -> None:
    site = tiny_site if kind == "heads" else pixel_site(tiny_site)
    site = replace(site, privacy=PLAN if is_private else None, randomness=lambda _: KeystreamRandomness(bytes(32)))
    start = model_arrays(site.model)
    assert isinstance(site.private, Records)
    expected = train(site, start, round_number=1)
    found = train(replace(site, private=on_disk(site.private, tmp_path)), start, round_number=1)
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in expected.items()
    }
    assert any(value.any() for value in found.values())


def test_held_out_studies_are_measured_from_the_disk_as_from_memory(tiny_site: Site, tmp_path: Path) -> None:
    held_out = tiny_site.held_out
    images, reports = held_out.images[:], held_out.reports[:]
    there = HeldOut(stored(images, tmp_path, "i"), stored(reports, tmp_path, "r"), held_out.records).to("cpu")
    for size in (5, 256):
        expected = embed_in_batches(tiny_site.model, images, reports, batch_size=size)
        found = embed_in_batches(tiny_site.model, there.images, there.reports, batch_size=size)
        assert torch.equal(found[0].embedding, expected[0].embedding)
        assert torch.equal(found[1].code, expected[1].code)


def test_sample_reads_its_own_rows_alone(tiny_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = tiny_site.private
    assert isinstance(private, Records)
    asked: list[list[int]] = []
    real = StoredArray.read

    def read(self: StoredArray, rows: np.ndarray, *, pinned: bool = False) -> Tensor:
        asked.append(rows.tolist())
        return real(self, rows, pinned=pinned)

    monkeypatch.setattr(StoredArray, "read", read)
    sampled = sample_patients(on_disk(private, tmp_path), 0.4, KeystreamRandomness(bytes(32)))
    assert not asked, "a sample is drawn, and its studies are read when they are asked for"
    sample = sampled.rows(slice(None))
    expected = sample_patients(private, 0.4, KeystreamRandomness(bytes(32)))
    assert torch.equal(sample.images, expected.images)
    assert torch.equal(sample.patients, expected.patients)
    assert len(asked) == 2
    assert all(len(rows) == len(expected.patients) < len(private.patients) for rows in asked)


# Several images of a study


FIRST, COUNT = np.array([0, 1, 4, 5]), np.array([1, 3, 1, 2])
"""Rows of four studies."""


def of_several(folder: Path) -> StoredRecords:
    images = replace(stored(torch.arange(7.0)[:, None], folder, "i"), first_N=FIRST, count_N=COUNT)
    return StoredRecords(images, stored(torch.arange(4.0)[:, None], folder, "r"), torch.tensor([0, 1, 1, 2]))


def test_main_image_is_the_first_of_each(tmp_path: Path) -> None:
    images = of_several(tmp_path).images
    assert images[:].flatten().tolist() == [0, 1, 4, 5]
    assert images[torch.tensor([3, 1])].flatten().tolist() == [5, 1]
    assert images.among([3, 1])[:].flatten().tolist() == [5, 1]


def test_step_draws_each_image_of_a_study_as_often_and_apart_from_other_studies(tmp_path: Path) -> None:
    """3,000 draws: standard scores of each image's share, and of the correlation of two studies' draws, below 4."""
    records, randomness, number = of_several(tmp_path), KeystreamRandomness(b"which image of a study it is ..."), 3000
    drawn = torch.cat([records.one_image_each(randomness).images[:].T for _ in range(number)]).numpy()
    assert set(drawn[:, 0]) == {0}
    assert set(drawn[:, 2]) == {4}
    for study, rows in ((1, (1, 2, 3)), (3, (5, 6))):
        share = 1 / len(rows)
        deviation = np.sqrt(share * (1 - share) / number)
        assert all(abs((drawn[:, study] == row).mean() - share) < 4 * deviation for row in rows)
    assert abs(np.corrcoef(drawn[:, 1], drawn[:, 3])[0, 1]) < 4 / np.sqrt(number)


def test_reports_and_patients_stay_with_their_study(tmp_path: Path) -> None:
    found = of_several(tmp_path).one_image_each(KeystreamRandomness(bytes(32))).rows(torch.tensor([1, 3]))
    assert found.reports.flatten().tolist() == [1, 3]
    assert found.patients.tolist() == [1, 2]


def test_nothing_is_drawn_where_each_study_has_one_image(tiny_site: Site, tmp_path: Path) -> None:
    """So that a data set of one image a study trains the model that it always trained."""
    assert isinstance(tiny_site.private, Records)
    source, untouched = KeystreamRandomness(bytes(32)), KeystreamRandomness(bytes(32))
    on_disk(tiny_site.private, tmp_path).one_image_each(source)
    assert torch.equal(source.participants(100, 0.5), untouched.participants(100, 0.5))


# What a frozen part makes


def test_frozen_part_reads_from_the_disk_and_leaves_no_file(tmp_path: Path) -> None:
    rows = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
    frozen = FrozenPart(nn.Linear(12, 5), nn.Identity())
    there = stored(rows, tmp_path)
    expected, _ = frozen.features_of(rows, rows)
    found = there.through(frozen.image, device="cpu", folder=tmp_path)
    assert torch.equal(found[:], expected)
    assert there.through(frozen.report, device="cpu", folder=tmp_path) is there
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    part = there.among(range(300, 600)).through(frozen.image, device="cpu", folder=tmp_path)
    torch.testing.assert_close(part[torch.tensor([7])], expected[[307]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA's or AMD's")
def test_rows_go_to_a_gpu_as_they_are(tmp_path: Path) -> None:
    rows = torch.randint(0, 256, (50, 32, 32), dtype=torch.uint8)
    found = stored(rows, tmp_path).to("cuda")[torch.arange(0, 50, 3)]
    assert found.is_cuda
    assert torch.equal(found.cpu(), rows[::3])
