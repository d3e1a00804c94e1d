"""What pydicom ships of DICOM's context groups (PS3.16), as the two files that `common/terminology` reads.

Production reads pydicom nowhere but where a hospital's data are, and its tables take a second to load; so they are
written down once, with this, and a test holds the files against the pydicom that is installed:

    python -m tests.common.terminology.shipped_concepts
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.sr._concepts_dict import concepts

import common.terminology

FOLDER = Path(common.terminology.__file__).parent
SCHEMES = ("SCT", "RADLEX")

FINDING = (
    *(3121, 639, 3200, 3700, 3703, 3704, 3711, 3714, 3728, 3754, 3755, 3805, 3808, 3810, 3817, 6030, 6054, 6055, 6056),
    *(6064, 6103, 6104, 6105, 6108, 6201, 6313, 6336, 6347, 7159, 7168, 7194, 12246, 12248, 12323, 12325),
)
PROCEDURE = (9, 3721, 6082, 6083, 6084, 6320, 12247)
DEVICE = (3411, 3429, 3777, 6138, 6404, 7157)
ANATOMY = (
    *(4, 3010, 3014, 3015, 3630, 3717, 3718, 4009, 4028, 4030, 4031, 4040, 4042, 6110, 6111, 6112, 6113, 6114, 6116),
    *(6117, 6149, 6170, 6171, 6204, 6300, 7140, 7153, 7154, 7155, 7156, 7160, 7167, 7170, 7171, 7192, 7600, 7602),
    *(7603, 7604, 7706, 12021, 12103, 12236, 12280, 12284, 12305, 1001, 6210, 7166),
)
GROUPS = {"finding": FINDING, "procedure": PROCEDURE, "device": DEVICE, "anatomy": ANATOMY}
CHOSEN = {cid for group in GROUPS.values() for cid in group}
"""Context groups that clinicians' words are taken from; an earlier group keeps what a later one also holds."""

FINDINGS_AMONG_PLACES = {"60046008", "373945007", "128462008", "204317008"}
"""Effusions and their like, which DICOM lists where it lists what an ultrasound probe is pointed at."""

PLACE = "(body structure)"
"""How SNOMED CT marks a part of the body, which a list of findings may hold too."""

NOT_WORDS_OF_A_QUERY = re.compile(
    r"(?i)background|(breast )?normal\b.*|unknown|other|none|medium|not .*|image|whole body|anatomical .*|.*\bno\b.*"
    r"|shadow|density|lines?|stripe|hiatus|head of$|ct|mr|laser|sphere|glue|.*phantom.*|(family )?history.*|air"
    r"|.*compared to.*|diffuse|regional|fibrous|entrapment|test not done.*|evaluation of .*|contrast media.*|exercise.*"
    r"|ultrasound scan.*|heart disease risk.*|risk factors.*|backrest|chair|floor|headrest|jewelry|stretcher|table|wall"
    r"|feces|(multi)?focal|body|media|tissue|organ|blood|fat|entire|capillary"
    r"|serum .*|o/e.*|on examination.*|.*, device.*|.* as .*"
)


def rows() -> list[dict[str, str]]:
    """One row a concept, by group, system and code."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    members: dict[tuple[str, str], set[int]] = defaultdict(set)
    for scheme in SCHEMES:
        for keywords in concepts[scheme].values():
            for code, (meaning, cids) in keywords.items():
                names[scheme, code].append(meaning)
                members[scheme, code].update(cids)
    found = []
    for (scheme, code), meanings in names.items():
        is_place = any(meaning.endswith(PLACE) for meaning in meanings)
        group = group_of(code, members[scheme, code], is_place=is_place)
        kept = [meaning for meaning in meanings if not NOT_WORDS_OF_A_QUERY.fullmatch(meaning)]
        if group and kept:
            held = " ".join(
                str(cid) for cid in sorted(members[scheme, code].intersection(*[set().union(*GROUPS.values())]))
            )
            found.append(
                {"group": group, "scheme": scheme, "code": code, "names": "|".join(kept), "context_groups": held}
            )
    return sorted(found, key=lambda row: (row["group"], row["scheme"], row["code"]))


def group_of(code: str, cids: set[int], *, is_place: bool) -> str:
    """The first group that holds it."""
    if is_place and not cids.isdisjoint(CHOSEN):
        return "anatomy"
    if code in FINDINGS_AMONG_PLACES:
        return "finding"
    return next((group for group, chosen in GROUPS.items() if not cids.isdisjoint(chosen)), "")


def words() -> list[str]:
    """Every word of five letters or more in any name, also of concepts that are not taken: none is a misspelling."""
    meanings = (meaning for scheme in concepts.values() for kept in scheme.values() for meaning, _ in kept.values())
    return sorted({word for meaning in meanings for word in re.findall(r"[a-z]{5,}", meaning.lower())})


def files() -> Iterator[tuple[str, str]]:
    """Name and text of each file."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ["group", "scheme", "code", "names", "context_groups"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows())
    yield "dicom_concepts.csv", table.getvalue()
    yield "dicom_words.csv", "\n".join(["word", *words()]) + "\n"


if __name__ == "__main__":
    for name, text in files():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text.splitlines()) - 1:,} rows of pydicom {pydicom.__version__}")  # noqa: T201
