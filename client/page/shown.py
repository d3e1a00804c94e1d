"""What the page shows of a search: own studies with picture and report, read now where they lie, others as cards."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import PIL.Image

from client.data.folder import StudyFolder
from client.deploy.searcher import Found
from client.mediator.own_sure import HitSure, OwnSure
from client.mediator.plan import Plan
from client.mediator.plan_relevance import PlanRelevance
from client.mediator.rerank import held_against
from client.mediator.validate import Judged
from client.page.terms import Explained, explained
from client.search.index import Gallery, Hit, SearchIndex
from common.errors import TrustError
from common.search.answer import Answer
from common.search.how_sure import HowSure
from common.types import Study, StudyRecord

MOST_SHOWN = 40
"""Studies on one page; ties, which all count as found, may be as many as there are studies."""

LONGEST_SIDE = 512
"""Pixels of a picture as it is shown; the archive's viewer shows it whole."""


@dataclass(frozen=True, kw_only=True)
class OwnStudy:
    """A study of this hospital.

    Attributes:
        handle: What it is called in the index.
        distance: Bits apart.
        study: Its identifier here.
        picture: Its first picture, as a `data:` address; None where it cannot be shown.
        num_others: Further pictures that it has.
        traits: Age, sex, day, modality and scanner, as far as they are known; each word once.
        report: Its report beside the query; None where it cannot be shown.
        judged: What the plan's rules say of it; none where there is nothing to hold it against.
        told: How sure it is.
    """

    handle: str
    distance: int
    study: str
    picture: str | None
    num_others: int
    traits: tuple[str, ...]
    report: Explained | None
    judged: tuple[Judged, ...] = ()
    told: HitSure = field(default_factory=HitSure)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A search, ready to be shown.

    Attributes:
        own: This hospital's studies.
        num_more: Further studies that tie with the last one.
        others: What the other hospitals answer; None where they were not asked.
        trouble: Why they could not be asked.
        how_sure: How sure hits of other hospitals are.
        own_sure: How sure own ones are.
        num_judged: Own studies that were held against the plan; 0 where there was nothing to hold them against.
    """

    own: tuple[OwnStudy, ...]
    num_more: int
    others: Answer | None
    trouble: str | None
    how_sure: HowSure
    own_sure: OwnSure
    num_judged: int = 0


def shown(
    found: Found,
    index: SearchIndex,
    folder: StudyFolder,
    *,
    query: str,
    plan: Plan | None,
    k: int,
    how_sure: HowSure,
    by_plan: PlanRelevance | None,
    gallery: Gallery,
) -> Shown:
    """A search as the page shows it, own studies in the order in which they answer the plan.

    A study that was withdrawn since it was found is left out.

    Args:
        found: What was found.
        index: Says which studies they are.
        folder: Where they lie.
        query: The words; "" for a picture.
        plan: What is looked for; None where there is no plan.
        k: How many studies are wanted.
        how_sure: How sure a hit of this search is, by its distance.
        by_plan: How sure an own one is by its rank; None where nobody has told.
        gallery: What of the studies was compared.

    Raises:
        DataError: The folder cannot be read.
    """
    names = {hit.handle: name for hit in found.own[:MOST_SHOWN] if (name := _name_of(hit, index)) is not None}
    studies = {
        item.record.study_id: item for item in folder.named(frozenset(names.values())) if isinstance(item, Study)
    }
    hits = [hit for hit in found.own if hit.handle in names]
    records = {handle: studies[name].record for handle, name in names.items() if name in studies}
    bit_width = index.head.bit_width
    held = held_against(plan, hits, records, k=k, bit_width=bit_width)
    own_sure = OwnSure.of(held, how_sure, by_plan, gallery=gallery, bit_width=bit_width)
    return Shown(
        own=tuple(
            replace(
                _own(hit, names[hit.handle], studies, query),
                judged=held.judged.get(hit.handle, ()),
                told=own_sure.of_hit(hit),
            )
            for hit in held.hits
        ),
        num_more=0 if held.judged else max(0, len(found.own) - MOST_SHOWN),
        others=found.others,
        trouble=found.trouble,
        how_sure=how_sure,
        own_sure=own_sure,
        num_judged=len(held.judged),
    )


def _name_of(hit: Hit, index: SearchIndex) -> str | None:
    try:
        return index.study_of(hit.handle)
    except TrustError:
        return None


def _own(hit: Hit, name: str, studies: Mapping[str, Study], query: str) -> OwnStudy:
    study = studies.get(name)
    return OwnStudy(
        handle=hit.handle,
        distance=hit.distance,
        study=name,
        picture=None if study is None else as_address(PIL.Image.fromarray(study.image)),
        num_others=0 if study is None else len(study.other_images),
        traits=() if study is None else tuple(_traits(study.record)),
        report=None if study is None else explained(query, study.record.report),
    )


def _traits(record: StudyRecord) -> Sequence[str]:
    made = None if record.date is None else record.date.isoformat()
    known = [None if record.age is None else f"{record.age} years", record.sex, made, record.modality, record.scanner]
    return list(dict.fromkeys(trait for trait in known if trait))


def as_address(picture: PIL.Image.Image) -> str:
    """A picture as a `data:` address: no request of its own brings it, so none can be made for another."""
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
