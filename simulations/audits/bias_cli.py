"""`wardround audit bias`: every audit of a simulation's studies, and counterfactual images of a synthetic cohort."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from client.audits.audit import BiasAudit, audit_bias
from client.audits.display import show_bias
from client.audits.features import fit_features, side_for
from client.audits.page import check_page, write_page
from client.audits.studies import AuditedStudies, gather
from client.audits.terms import read_terms
from client.data.splits import PUBLIC_SITE
from common.config.load import load_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.encoders.interface import Encoder
from common.encoders.registry import ENCODERS
from common.types import Study
from simulations.audits.image_edits import audit_image_edits
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import draw_cohort
from simulations.studies.source import cohort_plan, folder_of


def bias_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Config keys to set; configs/base.yaml lists them all."),
    ] = None,
    *,
    scenario: Annotated[str | None, typer.Option(help="Lay configs/scenarios/NAME.yaml over the base.")] = None,
    terms: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Your own list of words that doubt, blame or stigmatise."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write findings, plots and example pictures as a page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the audits as one JSON object.")] = False,
) -> None:
    """Audit a simulation's studies for bias, before training.

    The hospitals' studies of the config, public ones left out; nothing is trained. Of a synthetic cohort the images
    are drawn again with one thing changed, too. Bias can be planted: data.synthetic.planted=[scanner,marker,phrases].
    Exits with 0 whatever is found: a finding is a place to look.
    """
    config, words = load_config(overrides or [], scenario=scenario), read_terms(terms)
    if report is not None:
        check_page(report)
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    own = (item for item in folder_of(config).studies() if isinstance(item, Study) and item.record.site != PUBLIC_SITE)
    studies = gather(own, side=side_for(encoder))
    bias = audit_bias(studies, words, title=_title(config), encoder=encoder)
    if config.data.adapter == "synthetic":
        bias = _with_image_edits(bias, studies, cohort_plan(config), encoder)
    if report is not None:
        write_page(bias, report)
    if as_json:
        typer.echo(json.dumps(bias.as_json(), indent=2))
    else:
        show_bias(bias, Terminal(markup=True))


def _title(config: RunConfig) -> str:
    planted = ", ".join(config.data.synthetic.planted)
    if config.data.adapter != "synthetic":
        return f"the studies in {config.data.root}"
    return f"a synthetic cohort with planted {planted}" if planted else "a synthetic cohort"


def _with_image_edits(bias: BiasAudit, studies: AuditedStudies, plan: CohortPlan, encoder: Encoder) -> BiasAudit:
    phantoms = {phantom.study_id: phantom for phantom in _views(plan)}
    true = [phantoms[record.study_id] for record in studies.records]
    edits = audit_image_edits(studies, true, fit_features(studies, encoder), plan)
    return replace(bias, audits=(*bias.audits, edits))


def _views(plan: CohortPlan) -> Iterator[PhantomStudy]:
    """Each view as a study of its own, as the manifest lists them."""
    for phantom in draw_cohort(plan):
        for position, view in enumerate(phantom.views):
            yield replace(phantom, study_id=phantom.view_id(position), views=(view,))
