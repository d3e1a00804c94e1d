"""The form of what a site says it measured; its schema is `statistics.schema.json` (JSON Schema).

Checked on arrival, so that nothing that a site sends can stop the rounds, or the report at their end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from common.errors import AdmissionError


def check_statistics(statistics: Mapping[str, Any]) -> None:
    """Check a site's statistics.

    Raises:
        AdmissionError: With the reason `malformed`.
    """
    if not _validator().is_valid(statistics):
        raise AdmissionError("malformed")
    # NaN is neither below a minimum nor above a maximum, and a lone half of a UTF-16 pair is a text that no file holds.
    try:
        json.dumps(statistics, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        raise AdmissionError("malformed") from error


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(Path(__file__).with_name("statistics.schema.json").read_bytes()))
