"""Whether a hospital's data are ready: what is there, what is missing, double, unreadable or on two sides.

Everything here is exact and the hospital's own: it is shown on its screen, and none of it leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from client.check.contact_sheet import ContactSheet
from client.check.site_cut import cut_site
from client.data.identity import StudyDigest, content_digest, content_of
from client.data.images import is_nearly_flat
from client.data.remarks import Remarks, remarks_on
from client.data.splits import Role
from client.data.unpaired import UnpairedCount, UnpairedTally, with_blank
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteData
from common.config.schema import RunConfig
from common.losses.composition import trains_unpaired
from common.privacy.bands import band_of, delta_for
from common.types import BadRow, Study, StudyRecord, Unpaired

OPTIONAL = ("sex", "age", "race", "scanner", "language", "site", "findings")
"""Columns that may be blank."""
REPEATED, BURNED_IN = "repeats that of", "burned-in annotation"
"""Words by which the adapters' reasons tell a repeated identifier and declared burned-in text from other faults."""

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Studies whose image, or report, is the very same as another's.

    Attributes:
        num_studies: Studies that share theirs with another.
        num_groups: Different images or reports that are shared.
        num_across_patients: Groups that belong to more than one patient: one patient under two identifiers would be
            protected half.
    """

    num_studies: int
    num_groups: int
    num_across_patients: int


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What an examination found.

    Attributes:
        num_studies: Studies that can be read.
        num_patients: Their patients.
        num_by_role: Patients on each side of the split.
        missing: Blank fields by column.
        same_images: Studies with identical pixels.
        same_reports: Studies with identical text.
        unpaired: Studies that lack their report or image; no other figure but the digest counts them.
        num_lone_patients: Training patients who have such studies alone.
        bad_rows: Rows and files that cannot be read, with file, row and reason.
        num_repeated: Those of them whose identifier repeats an earlier one's.
        num_burned_in: Those of them that declare burned-in text.
        num_on_two_sides: Patients with studies on more than one side of the split.
        patients_band: Band of the training patients: all that the server learns of their number.
        most_patients_band: The same where a run trains on unpaired studies, too.
        delta: Greatest delta that the bands allow.
        content_digest: Digest of the studies; as private as they are.
        problems: Why the data cannot be used as they are, each with its remedy; none where they can.
        remarks: What was noticed of the table.
        num_flat: Pictures that show hardly anything once they are decoded.
    """

    num_studies: int
    num_patients: int
    num_by_role: Mapping[Role, int]
    missing: Mapping[str, int]
    same_images: Copies
    same_reports: Copies
    unpaired: UnpairedCount
    num_lone_patients: int
    bad_rows: tuple[BadRow, ...]
    num_repeated: int
    num_burned_in: int
    num_on_two_sides: int
    patients_band: str
    most_patients_band: str
    delta: float
    content_digest: str
    problems: tuple[str, ...]
    remarks: Remarks
    num_flat: int

    def band_of_run(self, run: RunConfig) -> str:
        """Band of the patients that a run trains on."""
        return self.most_patients_band if trains_unpaired(run.loss) else self.patients_band


def examine(data: SiteData, *, progress: Progress, sheet: ContactSheet | None = None) -> Readiness:
    """Read every study of a hospital's folder once, one at a time, and say what it found.

    Args:
        data: Where the studies are.
        progress: Called with the number of studies, paired or not, and bad rows so far.
        sheet: Takes a few of the studies for people to look at.

    Raises:
        DataError: The folder or its table cannot be read at all.
    """
    survey = _Survey()
    folder = study_folder(data)
    for number, item in enumerate(folder.studies(), start=1):
        survey.add(item)
        if sheet is not None and isinstance(item, Study):
            sheet.add(item)
        progress(number)
    listed = [*survey.records, *survey.lone]
    cut = cut_site(data, listed, num_bad_rows=len(survey.bad_rows), unpaired=survey.unpaired.count)
    most_band = band_of(cut.most_trained)
    reasons = [row.reason for row in survey.bad_rows]
    return Readiness(
        num_studies=len(survey.records),
        num_patients=len({record.patient_id for record in survey.records}),
        num_by_role={role: len(who) for role, who in cut.patients.items()},
        missing={name: sum(getattr(record, name) in (None, ()) for record in survey.records) for name in OPTIONAL},
        same_images=_copies((study.image, study.patient_id) for study in survey.digests),
        same_reports=_copies((study.report, study.patient_id) for study in survey.digests),
        unpaired=survey.unpaired.count,
        num_lone_patients=len(cut.lone),
        bad_rows=tuple(survey.bad_rows),
        num_repeated=sum(REPEATED in reason for reason in reasons),
        num_burned_in=sum(BURNED_IN in reason for reason in reasons),
        num_on_two_sides=cut.num_on_two_sides,
        patients_band=band_of(len(cut.patients[Role.TRAIN])),
        most_patients_band=most_band,
        delta=delta_for(most_band),
        content_digest=content_digest([*survey.digests, *survey.lone_digests]),
        problems=cut.problems,
        remarks=remarks_on(listed, cut.roles, written=folder.written()),
        num_flat=survey.num_flat,
    )


@dataclass
class _Survey:
    records: list[StudyRecord] = field(default_factory=list)
    digests: list[StudyDigest] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)
    unpaired: UnpairedTally = field(default_factory=UnpairedTally)
    num_flat: int = 0
    lone: list[StudyRecord] = field(default_factory=list)
    lone_digests: list[StudyDigest] = field(default_factory=list)

    def add(self, item: Study | Unpaired | BadRow) -> None:
        if isinstance(item, BadRow):
            self.bad_rows.append(item)
            return
        if isinstance(item, Unpaired):
            self.unpaired.add(item)
            study = with_blank(item)
            self.lone.append(study.record)
            self.lone_digests.append(_digest_of(study))
            return
        self.records.append(item.record)
        self.num_flat += is_nearly_flat(item.image)
        self.digests.append(_digest_of(item))


def _digest_of(study: Study) -> StudyDigest:
    image, report = content_of(study)
    return StudyDigest(study.record.study_id, study.record.patient_id, image, report)


def _copies(pairs: Iterable[tuple[str, str]]) -> Copies:
    """Copies among pairs of a digest and a patient."""
    patients: dict[str, list[str]] = defaultdict(list)
    for found, patient in pairs:
        patients[found].append(patient)
    shared = [who for who in patients.values() if len(who) > 1]
    return Copies(
        num_studies=sum(map(len, shared)),
        num_groups=len(shared),
        num_across_patients=sum(len(set(who)) > 1 for who in shared),
    )
