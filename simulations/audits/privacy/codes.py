"""What codes of the hospitals' own studies give away: whose they are, and what a line reads off them.

`wardround audit codes` measures a run's codes at every width; this is the same attack on the model that the pipeline
trains, with the images' codes of all own studies. No noise lies on a code, so that no epsilon is claimed. What is
claimed is that the code tells no more than the embedding that it is cut from. Random codes are the control: where they
tell more than chance, the measurement is wrong, and nothing can be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from client.audits.linear import Array
from client.data.splits import Role
from common.encoders.dual import DualEncoder, embed_in_batches
from common.seeds import numpy_generator
from simulations.audits.code_inversion import Read, read_off, traits_among
from simulations.audits.code_linkage import Linkage, Patients, linkage
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.joint_training import trained_together
from simulations.audits.privacy.membership_worlds import pool_of
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_RESAMPLES = 200
CODE, EMBEDDING, RANDOM = "code", "embedding", "random code"
_CONTROL_MARGIN = 0.02
"""Beyond its 95% interval, which misses chance once in twenty: a control that is off by more is a fault."""


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """What one kind of code gives away.

    Attributes:
        linkage: Whose the studies are; None where no patient has two.
        read: What a line reads off them.
    """

    linkage: Linkage | None
    read: tuple[Read, ...]

    @property
    def mean_read(self) -> float | None:
        """Mean area over findings, sex and age; None where there are too few studies with and without each."""
        return float(np.mean([one.area for one in self.read])) if self.read else None


def revealed(pipeline: Pipeline, subject: Subject) -> dict[str, Revealed]:
    """What images' codes of a trained model give away, beside its embeddings and random codes.

    Raises:
        DataError: There are too few patients.
    """
    records, roles = subject.consortium.records, subject.consortium.roles
    own = pool_of(subject).rows_N.tolist()
    public = [i for i, role in enumerate(roles) if role is Role.PUBLIC and records[i].lacks is None]
    who = Patients(
        patient_N=np.array([records[i].patient_id for i in own]),
        findings_N=np.array([";".join(sorted(records[i].findings)) for i in own]),
    )
    traits = traits_among([records[i] for i in public], [records[i] for i in own])
    model = trained_together(pipeline, subject)
    seen, learnt = (_kinds(model, subject, rows, name) for rows, name in ((own, "own"), (public, "public")))
    generator = partial(numpy_generator, subject.seed, "audit", "codes")
    return {
        kind: Revealed(
            linkage=linkage(
                -(own_ND @ own_ND.T), who, generator=generator("linkage", kind), num_resamples=NUM_RESAMPLES
            ),
            read=tuple(
                read_off(
                    learnt[kind],
                    own_ND,
                    trait,
                    who.patient_N,
                    generator=generator("read", kind, trait.name),
                    num_resamples=NUM_RESAMPLES,
                )
                for trait in traits
            ),
        )
        for kind, own_ND in seen.items()
    }


def _kinds(model: DualEncoder, subject: Subject, rows: list[int], name: str) -> dict[str, Array]:
    images, reports = (
        features[torch.tensor(rows)] for features in (subject.consortium.images, subject.consortium.reports)
    )
    image, _ = embed_in_batches(model, images, reports)
    signs_ND = np.where(image.code.numpy() > 0, 1.0, -1.0)
    coins = numpy_generator(subject.seed, "audit", "codes", "random", name).random(signs_ND.shape)
    return {CODE: signs_ND, EMBEDDING: image.embedding.double().numpy(), RANDOM: np.where(coins < 0.5, 1.0, -1.0)}


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Attack the codes of the model that the pipeline trains.

    Raises:
        DataError: There are too few patients.
    """
    found = revealed(pipeline, subject)
    links = {kind: one.linkage for kind, one in found.items() if one.linkage is not None}
    sentence = " ".join(_sentence(kind, one) for kind, one in found.items())
    if not links:
        return Measured(holds=None, sentence=sentence, power="No patient has two studies: nobody can be linked here.")
    control, code, embedding = links[RANDOM], links[CODE], links[EMBEDDING]
    ends = control.area_interval
    is_sound = ends.low - _CONTROL_MARGIN <= 0.5 <= ends.high + _CONTROL_MARGIN
    no_more = code.area_interval.low <= embedding.area_interval.high
    return Measured(
        holds=False if not no_more else (True if is_sound else None),
        sentence=sentence,
        power=(
            f"{code.num_studies} studies whose patient has another; random codes come out at {control.area:.2f}, where "
            "0.50 is chance. A line is a weak reader: a network trained to invert codes could read more."
        ),
        plots=(
            Plot(
                title="How often another study of the patient is nearer than one of somebody else",
                x=", ".join(f"{i}: {kind}" for i, kind in enumerate(links)),
                y="share (0.5 is a guess)",
                curves=(
                    Curve(
                        label="images",
                        x=tuple(float(i) for i in range(len(links))),
                        y=tuple(one.area for one in links.values()),
                        low=tuple(one.area_interval.low for one in links.values()),
                        high=tuple(one.area_interval.high for one in links.values()),
                    ),
                ),
            ),
        ),
    )


def _sentence(kind: str, one: Revealed) -> str:
    link = one.linkage
    parts = []
    if link is not None:
        ends = f"{link.area_interval.low:.0%} to {link.area_interval.high:.0%}"
        parts.append(
            f"another study of the patient is nearer in {link.area:.0%} ({ends}), and the nearest of all in "
            f"{link.first:.1%} (chance {link.first_by_chance:.1%})"
        )
    if one.mean_read is not None:
        parts.append(f"a line reads findings, sex and age off it at a mean area of {one.mean_read:.2f}")
    return f"By {kind}: {'; '.join(parts) or 'nothing could be measured'}."


CHECK = Check(
    name="codes",
    question="What does the code of a study tell of its patient?",
    claim="A code tells no more of whose study it is than the embedding that it is cut from; no epsilon covers it.",
    measure=measure,
)
