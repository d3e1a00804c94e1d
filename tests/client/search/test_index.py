"""Searching an index: against distances counted by hand; and what is refused at the door."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.policy.site_schema import SiteConfig
from client.search.build import build, site_key, withdraw
from client.search.generation import HEAD_FILE, alone, search_folder
from client.search.handles import HandleKey
from client.search.index import Gallery, SearchIndex
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.traits import Filter, traits_of
from client.state_folder import KEY_FILE
from common.errors import ConfigError, TrustError
from common.hashing.certificate import Certificate
from common.hashing.certified_search import certified_first
from common.hashing.codes import Codes
from common.trust.keys import SigningKey
from common.types import StudyRecord
from tests.client.search.conftest import BIT_WIDTH, StandInModel, opened

FILTERS = {
    "all": None,
    "sex": Filter(sex="F"),
    "ages": Filter(ages=(40, 60)),
    "an age": Filter(ages=(0, 300)),
    "scanner": Filter(scanner="CT"),
    "two": Filter(sex="M", ages=(0, 50)),
    "none": Filter(sex="F", scanner="ultrasound"),
}


def drawn(number: int) -> tuple[IndexedStudies, list[StudyRecord]]:
    """Studies of one to three images, of few distinct codes, so that ties abound; some of nothing known."""
    generator = np.random.default_rng(0)
    records = [
        StudyRecord(
            f"s{n}",
            f"p{n // 2}",
            "",
            sex=generator.choice(["F", "M", None]),
            age=None if n % 7 == 0 else int(generator.integers(0, 120)),
            scanner=generator.choice(["CT", "MR", None]),
        )
        for n in range(number)
    ]
    key = HandleKey(bytes(32))
    num_images = generator.integers(1, 4, number)
    codes = generator.integers(0, 256, (9, BIT_WIDTH // 8), np.uint8)
    studies = IndexedStudies(
        handles=np.array([key.of_study(record.study_id) for record in records], HANDLE),
        patients=np.array([key.of_patient(record.patient_id) for record in records], HANDLE),
        contents=np.array([key.of_content(record.study_id) for record in records], HANDLE),
        names=np.array([record.study_id.encode() for record in records]),
        traits=traits_of(records),
        reports=codes[generator.integers(0, 9, number)],
        images=codes[generator.integers(0, 9, int(num_images.sum()))],
        image_studies=np.repeat(np.arange(number, dtype=IMAGE_STUDY), num_images),
    )
    return studies.in_order(), records


def passes(record: StudyRecord, only: Filter | None) -> bool:
    """Whether a study is let through, said once more in plain words."""
    if only is None:
        return True
    in_band = only.ages is None or (record.age is not None and only.ages[0] <= record.age <= only.ages[1])
    return in_band and only.sex in {None, record.sex} and only.scanner in {None, record.scanner}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchIndex, IndexedStudies, dict[str, StudyRecord]]:
    studies, records = drawn(200)
    return (
        written_to(tmp_path_factory.mktemp("index"), studies),
        studies,
        {record.study_id: record for record in records},
    )


def written_to(folder: Path, studies: IndexedStudies) -> SearchIndex:
    """An index of these studies, open."""
    with alone(folder / "search", site="north", key=None) as writer:
        writer.write(studies, withdrawn=np.empty(0, HANDLE), model="m", bit_width=BIT_WIDTH, source="")
    return SearchIndex.open(folder / "search", key=None, model="m", bit_width=BIT_WIDTH)


@pytest.mark.parametrize("gallery", list(Gallery))
@pytest.mark.parametrize("only", FILTERS.values(), ids=list(FILTERS))
@pytest.mark.parametrize("k", [1, 10, 150, 1000])
def test_search_finds_the_nearest_studies_with_all_ties(
    written: tuple[SearchIndex, IndexedStudies, dict[str, StudyRecord]], gallery: Gallery, only: Filter | None, k: int
) -> None:
    index, studies, records = written
    query = np.random.default_rng(k).integers(0, 256, BIT_WIDTH // 8, np.uint8)
    owners = studies.image_studies if gallery is Gallery.IMAGES else np.arange(len(studies))
    codes = studies.images if gallery is Gallery.IMAGES else studies.reports
    distances: dict[str, int] = {}
    for owner, code in zip(owners, codes, strict=True):
        if passes(records[studies.names[owner].decode()], only):
            handle = studies.handles[owner].hex()
            away = bin(int.from_bytes((code ^ query).tobytes())).count("1")
            distances[handle] = min(away, distances.get(handle, away))
    ranked = sorted((distance, handle) for handle, distance in distances.items())
    farthest = ranked[min(k, len(ranked)) - 1][0] if ranked else 0
    found = index.search(query, gallery=gallery, k=k, only=only)
    assert [(hit.distance, hit.handle) for hit in found] == [pair for pair in ranked if pair[0] <= farthest]


@pytest.mark.parametrize("only", [None, Filter(sex="F")])
@pytest.mark.parametrize("most_flips", [0, 2, 5])
def test_certified_hits_are_those_of_the_whole_gallery(tmp_path: Path, only: Filter | None, most_flips: int) -> None:
    studies, records = drawn(200)
    generator = np.random.default_rng(most_flips)

    def near(number: int) -> Codes:
        """Codes at every distance from none on, few ties."""
        return np.packbits(generator.random((number, BIT_WIDTH)) < generator.random((number, 1)) / 2, axis=1)

    studies = replace(studies, reports=near(len(studies)), images=near(len(studies.images)))
    index = written_to(tmp_path, studies)
    certificate = Certificate(
        code=np.zeros(BIT_WIDTH, bool), loose=generator.random(BIT_WIDTH) < 0.3, most_flips=most_flips
    )
    by_name = {record.study_id: record for record in records}
    kept = np.array([passes(by_name[name.decode()], only) for name in studies.names.tolist()])
    query, numbered = np.packbits(certificate.code), [handle.hex() for handle in studies.handles[kept].tolist()]
    num_certified = 0
    for k in (1, 5, 30, 60):
        hits = index.search(query, gallery=Gallery.REPORTS, k=k, only=only, certificate=certificate)
        safe = certified_first(k, certificate, np.unpackbits(studies.reports[kept], axis=1).astype(bool))
        assert {hit.handle for hit in hits if hit.certified} == {numbered[item] for item in safe}
        by_image = index.search(query, gallery=Gallery.IMAGES, k=k, only=only, certificate=certificate)
        kept_images = kept[studies.image_studies]
        bits = np.unpackbits(studies.images[kept_images], axis=1).astype(bool)
        owners = studies.handles[studies.image_studies[kept_images]]
        surely = {owners[item].hex() for item in certified_first(k, certificate, bits)}
        assert {hit.handle for hit in by_image if hit.certified} <= surely
        num_certified += len(safe)
    assert num_certified, "some are"
    with pytest.raises(ValueError, match="of another code"):
        index.search(~query, gallery=Gallery.REPORTS, k=1, certificate=certificate)


def test_handle_leads_to_its_study_alone(
    written: tuple[SearchIndex, IndexedStudies, dict[str, StudyRecord]],
) -> None:
    index, studies, records = written
    found = [index.study_of(handle.hex()) for handle in studies.handles.tolist()]
    assert sorted(found) == sorted(records)
    known = studies.handles[0].hex()
    for forged in ("0" * 31 + "1", "f" * 32, "../../etc/passwd", known.upper(), known[:-1], known + "0", ""):
        with pytest.raises(TrustError, match="handle"):
            index.study_of(forged)


def test_handles_of_another_key_have_nothing_in_common() -> None:
    names = [f"s{n}" for n in range(2000)]
    one, other = HandleKey(bytes(32)), HandleKey(b"\1" * 32)
    mine, theirs = {one.of_study(name) for name in names}, {other.of_study(name) for name in names}
    assert len(mine) == len(theirs) == 2000
    assert not mine & theirs
    assert not mine & {one.of_patient(name) for name in names}
    assert not any(name.encode() in handle for name, handle in zip(names, map(one.of_study, names), strict=True))


def columns_of(site: SiteConfig) -> list[str]:
    """Names of the files of a generation."""
    (generation,) = (path for path in search_folder(site).iterdir() if path.is_dir())
    return sorted(path.name for path in generation.iterdir())


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_flipped_bit_in_any_file_is_refused(site: SiteConfig, model: StandInModel, where: float) -> None:
    build(site, model)
    withdraw(site, studies=["s1"])
    opened(site, model)
    for name in [*columns_of(site), HEAD_FILE]:
        (path,) = search_folder(site).rglob(name)
        content = bytearray(path.read_bytes())
        content[round(where * (len(content) - 1))] ^= 1
        whole = path.read_bytes()
        path.write_bytes(content)
        if name == HEAD_FILE and where == 1.0:
            path.write_bytes(whole.replace(b'"source": "', b'"source": "0'))
        with pytest.raises(TrustError, match=re.escape(str(path))):
            opened(site, model)
        with pytest.raises(TrustError, match=re.escape(str(path))):
            build(site, model)
        path.write_bytes(whole)
    opened(site, model)


def test_file_that_is_cut_longer_or_gone_is_refused(site: SiteConfig, model: StandInModel) -> None:
    build(site, model)
    withdraw(site, studies=["s1"])
    for name in columns_of(site):
        (path,) = search_folder(site).rglob(name)
        whole = path.read_bytes()
        for content in (whole[:-1], whole + b"\0"):
            path.write_bytes(content)
            with pytest.raises(TrustError, match=name):
                opened(site, model)
        path.unlink()
        with pytest.raises(TrustError, match="is missing"):
            opened(site, model)
        path.write_bytes(whole)


def test_another_model_width_or_key_is_refused(site: SiteConfig, model: StandInModel) -> None:
    with pytest.raises(ConfigError, match="holds no index"):
        opened(site, model)
    build(site, model)
    with pytest.raises(TrustError, match="was made by model aaaaaaaaaaaa of 64 bits"):
        opened(site, StandInModel("b" * 64))
    with pytest.raises(TrustError, match="of 128 bits"):
        opened(site, StandInModel(bit_width=128))
    with pytest.raises(TrustError, match="a query of 128 bits"):
        opened(site, model).search(np.zeros(16, np.uint8), gallery=Gallery.IMAGES, k=1)
    stranger = SigningKey.fresh().public
    with pytest.raises(TrustError, match="signature"):
        SearchIndex.open(search_folder(site), key=stranger, model=model.digest, bit_width=64)


def test_signature_cannot_be_taken_off_and_is_not_asked_of_a_site_without_a_key(
    site: SiteConfig, model: StandInModel
) -> None:
    build(site, model)
    head = search_folder(site) / HEAD_FILE
    head.write_text(json.dumps(json.loads(head.read_text()) | {"signatures": {}}))
    with pytest.raises(TrustError, match="does not carry the one signature"):
        opened(site, model)
    shutil.rmtree(search_folder(site))
    (site.state_folder / KEY_FILE).unlink()
    assert site_key(site) is None
    build(site, model)
    SearchIndex.open(search_folder(site), key=None, model=model.digest, bit_width=64)


@pytest.mark.parametrize("generation", ["..", "../search", "/etc", "0" * 15])
def test_head_cannot_point_elsewhere(site: SiteConfig, model: StandInModel, generation: str) -> None:
    build(site, model)
    head = search_folder(site) / HEAD_FILE
    told = json.loads(head.read_text())
    told["body"]["generation"] = generation
    head.write_text(json.dumps(told))
    with pytest.raises(TrustError, match="damaged or newer"):
        SearchIndex.open(search_folder(site), key=None, model=model.digest, bit_width=64)


def test_open_index_reads_on_when_another_takes_its_place(site: SiteConfig, model: StandInModel) -> None:
    build(site, model)
    index = opened(site, model)
    before = index.search(model.code(3), gallery=Gallery.IMAGES, k=3)
    assert index.is_current
    withdraw(site, studies=["s3"])
    assert not index.is_current
    assert index.search(model.code(3), gallery=Gallery.IMAGES, k=3) == before
    assert index.study_of(before[0].handle) == "s3"
    assert before[0] not in opened(site, model).search(model.code(3), gallery=Gallery.IMAGES, k=3)


def test_empty_index_can_be_searched(site: SiteConfig, model: StandInModel) -> None:
    build(site, model)
    withdraw(site, patients=[f"p{n}" for n in range(40)])
    index = opened(site, model)
    assert len(index) == 0
    for gallery in Gallery:
        assert index.search(model.code(3), gallery=gallery, k=3, only=Filter(sex="F")) == ()


def test_merging_replaces_what_is_in_both() -> None:
    studies, _ = drawn(30)
    changed = replace(studies, reports=~studies.reports).among(np.arange(30) % 3 == 0)
    merged = studies.with_others(changed)
    assert merged.handles.tolist() == studies.handles.tolist()
    expected = np.where((np.arange(30) % 3 == 0)[:, None], ~studies.reports, studies.reports)
    assert merged.reports.tolist() == expected.tolist()
    assert merged.images.tolist() == studies.images.tolist()
    assert merged.image_studies.tolist() == studies.image_studies.tolist()
