"""What codes of a run's studies give away, by width: whose they are, and what a line reads off them.

Beside what a code says stands what answers let out of it: whether a patient of two hospitals is recognised by what both
tell an asker, and how much of an index askers learn who collude.

A width is the first bits of the run's code. Beside the widths stand the embedding, which is what the code is cut from,
and random codes of full width: where these tell more than chance, the measurement is wrong. All own studies of the
hospitals are looked at, trained on or not, as all are in an index; of more than `MOST_STUDIES` some patients are drawn
by the seed.

Shapes: N public studies, M studies of hospitals, K bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.data.splits import Role
from client.search.index import SearchIndex
from common.errors import DataError
from common.hashing.codes import LEAST_BITS, Codes, unpack
from common.model import Encoded
from common.retrieval.evaluation import distinct_reports
from common.seeds import numpy_generator
from common.types import StudyRecord
from simulations.audits.code_inversion import Read, read_off, traits_among
from simulations.audits.code_linkage import Linkage, Patients, linkage
from simulations.audits.colluding_askers import Learned, learned_by_each
from simulations.audits.linkage_over_sites import DEFAULT, EVERYTHING, linkage_over_sites
from simulations.audits.randomised_codes import recall_of_flipped
from simulations.search.building import own_rows, write_index
from simulations.search.opened_run import OpenedRun
from simulations.studies.consortium import Consortium

WIDTHS = (8, 16, 32, 48, 64, 96, 128, 192, 256)
"""Below 48 bits no run has codes: those rows show where it leads."""
EPSILONS = (8.0, 32.0, 128.0, 512.0, None)
MOST_STUDIES = 2000
NUM_RESAMPLES = 200
EMBEDDING, RANDOM = "embedding", "random codes"
TOLD = {"answers": DEFAULT, "every distance": EVERYTHING}
"""What two hospitals tell of their studies: as the limits of site.yaml are where nothing is set, or all there is."""
MOST_QUESTIONS = 300
"""Public codes that an asker sends to both."""
NUM_ASKED, NUM_ASKERS = 10_000, (1, 2, 8)
"""Questions of a day to one hospital, and how many askers share them out."""


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """What one kind of code gives away.

    Attributes:
        gallery: `images` or `reports`.
        of: `N bits`, the embedding, or random codes.
        linkage: Whose the studies are; None where no patient has two.
        read: What a line reads.
    """

    gallery: str
    of: str
    linkage: Linkage | None
    read: tuple[Read, ...]

    @property
    def mean_area(self) -> float | None:
        """Mean area over findings, sex and age; None where no trait can be looked at."""
        return float(np.mean([one.area for one in self.read])) if self.read else None


@dataclass(frozen=True, kw_only=True)
class OverSites:
    """Whether a patient of two hospitals is recognised by what both tell of their images.

    Attributes:
        of: `N bits`, or random codes.
        told: One of `TOLD`.
        linkage: Whose the studies are; None where no patient has two.
    """

    of: str
    told: str
    linkage: Linkage | None


@dataclass(frozen=True, kw_only=True)
class Flipped:
    """What questions find whose bits were flipped by chance.

    Attributes:
        epsilon: Of one question; None where nothing is flipped.
        bits: Of its code.
        recall_at_10: Image to report, on held-out studies.
    """

    epsilon: float | None
    bits: int
    recall_at_10: float


@dataclass(frozen=True, kw_only=True)
class CodeAudit:
    """All that was measured.

    Attributes:
        num_studies: Of hospitals that were looked at.
        num_patients: Whose they are.
        bit_width: Of the run's codes.
        num_public: Public studies that the line learnt from.
        revealed: By gallery and width.
        over_sites: By width and what is told.
        learned: Of the largest hospital's index, by askers who collude; the last one is limited by nothing.
        flipped: By epsilon and width.
    """

    num_studies: int
    num_patients: int
    bit_width: int
    num_public: int
    revealed: tuple[Revealed, ...]
    over_sites: tuple[OverSites, ...]
    learned: tuple[Learned, ...]
    flipped: tuple[Flipped, ...]

    def as_json(self) -> dict[str, Any]:
        """As one object."""
        return asdict(self)


def audit_codes(run: OpenedRun, consortium: Consortium) -> CodeAudit:
    """Measure what a run's codes give away.

    Raises:
        DataError: There are too few studies for it.
    """
    public = [i for i, role in enumerate(consortium.roles) if role is Role.PUBLIC and not consortium.records[i].lacks]
    own = _drawn(consortium, run.ended.config.seed)
    if not public or len(own) < 2:
        raise DataError("data: leaves no public studies, or one study of all hospitals; nothing can be measured")
    revealed = [
        one
        for gallery, rows in (("images", own), ("reports", _distinct(consortium.records, own)))
        for one in _revealed(run, consortium, gallery, public, rows)
    ]
    return CodeAudit(
        num_studies=len(own),
        num_patients=len({consortium.records[i].patient_id for i in own}),
        bit_width=run.model.bit_width,
        num_public=len(public),
        revealed=tuple(revealed),
        over_sites=tuple(_over_sites(run, consortium, public, own)),
        learned=_learned(run, consortium, public),
        flipped=tuple(_flipped(run, consortium)),
    )


def _drawn(consortium: Consortium, seed: int) -> list[int]:
    """Own studies of the hospitals, of patients drawn until there are enough; the last one may lack some."""
    rows = [i for site in consortium.sites for i in own_rows(consortium, site)]
    patients = np.unique([consortium.records[i].patient_id for i in rows])
    order = numpy_generator(seed, "audit codes", "patients").permutation(len(patients))
    place = dict(zip(patients[order].tolist(), range(len(patients)), strict=True))
    first = sorted(rows, key=lambda i: place[consortium.records[i].patient_id])[:MOST_STUDIES]
    return sorted(first)


def _distinct(records: Sequence[StudyRecord], rows: Sequence[int]) -> list[int]:
    """One study of those of a patient that share their report: views of a study, which reports cannot tell apart."""
    return sorted({(records[i].patient_id, records[i].report): i for i in reversed(rows)}.values())


def _revealed(
    run: OpenedRun, consortium: Consortium, gallery: str, public: Sequence[int], own: Sequence[int]
) -> Iterator[Revealed]:
    records = [consortium.records[i] for i in own]
    who = _patients(records)
    learnt, seen = (_encoded(run, consortium, gallery, rows) for rows in (public, own))
    traits = traits_among([consortium.records[i] for i in public], records)
    generator = partial(numpy_generator, run.ended.config.seed, "audit codes", gallery)
    for of, public_ND, own_ND in _kinds(learnt, seen, generator("random")):
        yield Revealed(
            gallery=gallery,
            of=of,
            linkage=linkage(_distances(own_ND), who, generator=generator("linkage", of), num_resamples=NUM_RESAMPLES),
            read=tuple(
                read_off(
                    public_ND,
                    own_ND,
                    trait,
                    who.patient_N,
                    generator=generator("read", of, trait.name),
                    num_resamples=NUM_RESAMPLES,
                )
                for trait in traits
            ),
        )


def _patients(records: Sequence[StudyRecord]) -> Patients:
    return Patients(
        patient_N=np.array([record.patient_id for record in records]),
        findings_N=np.array([";".join(sorted(record.findings)) for record in records]),
    )


def _over_sites(
    run: OpenedRun, consortium: Consortium, public: Sequence[int], own: Sequence[int]
) -> Iterator[OverSites]:
    who = _patients([consortium.records[i] for i in own])
    asked, seen = (_encoded(run, consortium, "images", rows).codes for rows in (public[:MOST_QUESTIONS], own))
    generator = partial(numpy_generator, run.ended.config.seed, "audit codes", "over sites")
    random = generator("random")
    kinds: list[tuple[str, Codes, Codes]] = [
        *((f"{bits} bits", asked[:, : bits // 8], seen[:, : bits // 8]) for bits in _widths(8 * seen.shape[1])),
        (RANDOM, random.integers(0, 256, asked.shape, np.uint8), random.integers(0, 256, seen.shape, np.uint8)),
    ]
    for of, questions_QP, codes_NP in kinds:
        for told, limits in TOLD.items():
            found = linkage_over_sites(
                np.ascontiguousarray(codes_NP),
                np.ascontiguousarray(questions_QP),
                who,
                limits=limits,
                generator=generator("bootstrap", of, told),
                num_resamples=NUM_RESAMPLES,
            )
            yield OverSites(of=of, told=told, linkage=found)


def _learned(run: OpenedRun, consortium: Consortium, public: Sequence[int]) -> tuple[Learned, ...]:
    rows = {site: own_rows(consortium, site) for site in consortium.sites}
    largest = max(rows, key=lambda site: len(rows[site]))
    with tempfile.TemporaryDirectory(prefix="wardround-audit-") as name:
        folder = Path(name) / "search"
        write_index(folder, largest, rows[largest], consortium, run.model)
        index = SearchIndex.open(folder, key=None, model=run.model.digest, bit_width=run.model.bit_width)
        return learned_by_each(
            index,
            _encoded(run, consortium, "images", public).codes,
            limits=DEFAULT,
            askers=NUM_ASKERS,
            num_questions=NUM_ASKED,
            generator=numpy_generator(run.ended.config.seed, "audit codes", "askers"),
        )


def _kinds(
    learnt: Encoded, seen: Encoded, generator: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Each kind of code, of public and of own studies, as real numbers."""
    num_bytes = learnt.codes.shape[1]
    for bits in _widths(8 * num_bytes):
        yield f"{bits} bits", _real(learnt.codes[:, : bits // 8]), _real(seen.codes[:, : bits // 8])
    yield EMBEDDING, learnt.embeddings.astype(np.float64), seen.embeddings.astype(np.float64)
    random_ND, random_MD = (_real(generator.integers(0, 256, some.codes.shape, np.uint8)) for some in (learnt, seen))
    yield RANDOM, random_ND, random_MD


def _real(codes_NP: Codes) -> NDArray[np.float64]:
    """Bits as -1 and 1: their squared distance is four times that of Hamming."""
    return 2 * unpack(codes_NP).astype(np.float64) - 1


def _distances(real_MD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Less their inner products: all rows have one length, so that the order is that of distances."""
    return -(real_MD @ real_MD.T)


def _widths(bit_width: int) -> list[int]:
    return [bits for bits in WIDTHS if bits < bit_width] + [bit_width]


def _encoded(run: OpenedRun, consortium: Consortium, gallery: str, rows: Sequence[int]) -> Encoded:
    if gallery == "images":
        return run.model.of_image_features(consortium.images[list(rows)])
    return run.model.of_text_features(consortium.reports[list(rows)])


def _flipped(run: OpenedRun, consortium: Consortium) -> Iterator[Flipped]:
    rows = consortium.held_out_rows(consortium.sites)
    chosen, relevant_NR = distinct_reports([consortium.records[i] for i in rows])
    images = _encoded(run, consortium, "images", rows).codes
    reports = _encoded(run, consortium, "reports", rows).codes[chosen]
    for bits in _widths(8 * images.shape[1]):
        if bits < LEAST_BITS:
            continue
        for epsilon in EPSILONS:
            recall = recall_of_flipped(
                images[:, : bits // 8],
                reports[:, : bits // 8],
                relevant_NR,
                epsilon=epsilon,
                generator=numpy_generator(run.ended.config.seed, "audit codes", "flips", bits),
            )
            yield Flipped(epsilon=epsilon, bits=bits, recall_at_10=recall)
