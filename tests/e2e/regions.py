"""The pack of real studies as five hospitals have it: a manifest folder, by region of the body, with public studies.

    python -m tests.e2e.regions FOLDER      writes it from WARDROUND_DATA

Then `wardround server demo --data FOLDER encoder.name=pretrained` is the first day of a consortium of five.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import wardround

PACK = Path(os.environ.get("WARDROUND_DATA", Path(wardround.__file__).parents[1] / "shared" / "data")) / "medpix2"
SPLIT = "split_1"
COLUMNS = ("study_id", "patient_id", "image_path", "report", "sex", "age", "scanner", "site")


def write_regions(
    folder: Path, *, sites: Collection[str] | None = None, most_patients: int | None = None, one_each: bool = False
) -> Path:
    """Write the folder.

    Args:
        folder: A new one.
        sites: The regions; all where left out.
        most_patients: Of each region, and of the public studies; all where left out.
        one_each: Whether only the first study of each patient is taken.
    """
    with (PACK / "splits.csv").open(newline="", encoding="utf-8") as file:
        public = {row["split_group"] for row in csv.DictReader(file) if row[SPLIT] == "public"}
    with (PACK / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["text"]]
    patients: dict[str, list[str]] = defaultdict(list)
    kept = []
    for row in rows:
        site = "public" if row["split_group"] in public else row["site"]
        if site != "public" and sites is not None and site not in sites:
            continue
        known = row["patient_id"] in patients[site]
        if (known and one_each) or (not known and most_patients is not None and len(patients[site]) >= most_patients):
            continue
        if not known:
            patients[site].append(row["patient_id"])
        kept.append(row | {"site": site})
    (folder / "images").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in kept:
            shutil.copyfile(PACK / row["image_path"], folder / row["image_path"])
            fields = (Path(row["image_path"]).stem, row["patient_id"], row["image_path"], row["text"])
            writer.writerow((*fields, row["sex"], row["age"], row["modality"], row["site"]))
    return folder


if __name__ == "__main__":
    write_regions(Path(sys.argv[1]))
