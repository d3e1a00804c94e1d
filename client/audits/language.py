"""Are the reports of some groups written with doubt, blame or stigma more often than those of the others?

Shapes: N studies, K categories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from client.audits.contrasts import Contrast, contrasts
from client.audits.interface import ALPHA, Audited, Finding, Verdict, forest
from client.audits.studies import PATIENT_ATTRIBUTES, AuditedStudies
from client.audits.terms import CATEGORIES, Terms, Used
from client.audits.words import group_words, percent
from common.seeds import numpy_generator

QUESTION = "Are some groups written of with doubt, blame or stigma more often than others?"
MOST_EXAMPLES = 4
"""Words that a sentence names, the most frequent first."""


def audit_language(studies: AuditedStudies, terms: Terms) -> Audited:
    """The share of reports with words of each category, each group against everybody else, by patient."""
    used = [terms.used_in(record.report) for record in studies.records]
    figures_NK = np.array([[any(word.category == name for word in words) for name in CATEGORIES] for words in used])
    by_attribute: dict[str, list[Contrast]] = {}
    for attribute in PATIENT_ATTRIBUTES:
        grouped = studies.grouped(attribute)
        rng = numpy_generator(0, "audit", "language", attribute)
        by_attribute[attribute] = contrasts(figures_NK[grouped.rows].astype(np.float64), grouped, rng=rng)
    findings = tuple(_findings(studies, by_attribute, used))
    return Audited(name="language", question=QUESTION, findings=findings, figure=forest(findings))


def _findings(
    studies: AuditedStudies, by_attribute: dict[str, list[Contrast]], used: list[list[Used]]
) -> Iterator[Finding]:
    tested = [attribute for attribute, found in by_attribute.items() if found]
    for attribute in PATIENT_ATTRIBUTES:
        if attribute not in tested:
            yield Finding(
                subject=group_words(attribute),
                sentence=f"No two groups by {group_words(attribute)} have enough patients to compare their reports.",
                verdict=Verdict.CANNOT_TELL,
                measure="share of reports",
            )
    for attribute in tested:
        for contrast in by_attribute[attribute]:
            # Each attribute's tests are corrected together; this corrects for the attributes.
            p_value = min(1.0, len(tested) * contrast.p_value)
            yield _finding(attribute, contrast, p_value, _examples(studies, attribute, contrast, used))


def _finding(attribute: str, contrast: Contrast, p_value: float, examples: str) -> Finding:
    category, found = CATEGORIES[contrast.figure], p_value <= ALPHA
    who = group_words(attribute, contrast.group)
    shares = f"{percent(contrast.inside)} of the reports of {who}, {percent(contrast.outside)} of the others'"
    return Finding(
        subject=f"{who}: {category}",
        sentence=f"Words of {category} are in {shares}{': ' + examples if found and examples else ''}.",
        verdict=Verdict.FOUND if found else Verdict.NOT_FOUND,
        measure="difference of the shares of reports",
        estimate=contrast.difference,
        low=contrast.low,
        high=contrast.high,
        p_value=p_value,
    )


def _examples(studies: AuditedStudies, attribute: str, contrast: Contrast, used: list[list[Used]]) -> str:
    """The words of the category that the group's reports use most; quotations are patients' own and are not shown."""
    grouped = studies.grouped(attribute)
    counts = Counter(
        "quotation marks" if not word.words[0].isalpha() else word.words
        for group, row in zip(grouped.groups, grouped.rows, strict=True)
        if group == contrast.group
        for word in used[row]
        if word.category == CATEGORIES[contrast.figure]
    )
    return ", ".join(word for word, _ in counts.most_common(MOST_EXAMPLES))
