"""`wardround site check --bias`: the audits of the hospital's own studies. What they find stays on its screen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.audits.page import check_page, write_page
from client.audits.terms import Terms, read_terms
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteConfig
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.types import Study

if TYPE_CHECKING:
    from client.audits.audit import BiasAudit


@dataclass(frozen=True)
class BiasPlan:
    """What is asked for, checked before a study is read.

    Attributes:
        terms: The list of words.
        report: Where the page goes, or None.
    """

    terms: Terms
    report: Path | None

    def carry_out(self, site: SiteConfig, run: RunConfig | None) -> BiasAudit:
        """Audit the hospital's studies, as a run's encoder sees them where there is a run.

        Raises:
            DataError: No study can be read.
            OSError: The page cannot be written.
        """
        # Slow to import, for a check that no audit was asked of.
        from client.audits.audit import audit_bias
        from client.audits.features import side_for
        from client.audits.studies import gather
        from common.encoders.registry import ENCODERS

        encoder = None if run is None else ENCODERS.load(run.encoder.name)(run.encoder)
        own = (item for item in study_folder(site.data).studies() if isinstance(item, Study))
        studies = gather(own, side=side_for(encoder))
        bias = audit_bias(studies, self.terms, title=site.site, encoder=encoder)
        if self.report is not None:
            write_page(bias, self.report)
        return bias


def bias_plan(*, bias: bool, terms: Path | None, report: Path | None) -> BiasPlan | None:
    """The plan, or None where no audit is asked for.

    Raises:
        ConfigError: An option of the audit is given without it, the list cannot be read, or the page cannot be there.
    """
    if not bias:
        for option, value in (("--terms", terms), ("--report", report)):
            if value is not None:
                raise ConfigError(f"{option} {value}: is for the bias audit; give --bias too")
        return None
    if report is not None:
        check_page(report)
    return BiasPlan(read_terms(terms), report)
