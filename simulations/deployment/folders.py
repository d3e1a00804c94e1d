"""Where what a consortium on this machine makes lies, in one folder.

centre/          the server's folder
public/          the public studies, which every hospital has on its disk
SITE/            a hospital: site.yaml, studies/, state/
run.yaml         what the coordinating centre sets of the run
cohort.yaml      who shares noise in it, where hospitals do
run.bundle       what the hospitals approve
model/           what they search by, once a run has trained it
output/          what each process said
evidence/        what an auditor gets
"""

from __future__ import annotations

from pathlib import Path

CENTRE, PUBLIC, MODEL, OUTPUT, EVIDENCE = "centre", "public", "model", "output", "evidence"
COHORT_FOLDER = "cohort"
"""A synthetic cohort, until it has been handed out."""
RUN_FILE, COHORT_FILE, BUNDLE_FILE = "run.yaml", "cohort.yaml", "run.bundle"
RESERVED = frozenset({CENTRE, PUBLIC, MODEL, OUTPUT, EVIDENCE, COHORT_FOLDER})
"""What no hospital can be called here."""


def studies_of(folder: Path, site: str) -> Path:
    """A hospital's studies."""
    return folder / site / "studies"
