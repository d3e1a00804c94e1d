"""Attacks on the pipeline as evidence: what `wardround audit privacy --json` printed, with the file's digest.

The file is taken as it is: nobody signs it, and the attacks ran on a pipeline like that of the run, not in the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import CheckFailed, ConfigError
from simulations.audits.promises.answers import Answer, Check, Promise

_MOST_ATTACK_BYTES = 64 << 20


def read_attacks(path: Path) -> tuple[Check, ...]:
    """The checks of an attack on the pipeline, as `wardround audit privacy --json` prints them.

    Raises:
        ConfigError: The file is not that.
    """
    try:
        if path.stat().st_size > _MOST_ATTACK_BYTES:
            raise ConfigError(f"--attacks {path}: is too large for the checks of wardround audit privacy --json")
        said = json.loads(path.read_bytes())
        rows = [dict(row) for row in said["checks"]]
        found = tuple(_attack(row, path) for row in rows)
    except OSError as error:
        raise ConfigError(f"--attacks {path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"--attacks {path}: is not what wardround audit privacy --json prints; make it") from error
    if not found:
        raise ConfigError(f"--attacks {path}: holds no check; make it anew with wardround audit privacy --json")
    return found


def _attack(row: Mapping[str, Any], path: Path) -> Check:
    """One attack. It fails by its own word, and where arithmetic puts its bound above the epsilon it was held against.

    A bound of some confidence lies above a claim that holds once in so many audits: 95% are shown, and a claim is
    refuted where chance would do so once in a million, which is the attack's own word.
    """
    holds, lower, claimed = row["holds"], _checked_number(row["lower_bound"]), _checked_number(row["claimed_epsilon"])
    confidence = _checked_number(row.get("confidence"))
    name, seconds = str(row["name"]), float(_checked_number(row["seconds"]) or 0.0)
    if holds not in (True, False, None):
        raise ValueError(name)
    is_above = lower is not None and claimed is not None and lower > claimed
    fails = not holds or (is_above and confidence is None)
    answer = Answer.CANNOT_TELL if holds is None else Answer.FAILS if fails else Answer.HOLDS
    return Check(
        name=f"attack: {name}",
        promises=() if answer is Answer.CANNOT_TELL else (Promise.EPSILON,),  # as if it had not been run
        answer=answer,
        says=_attack_in_words(lower, claimed, confidence, answer),
        files=(path,),
        command="wardround audit privacy --json",
        seconds=seconds,
        claimed_epsilon=claimed,
        lower_bound=lower,
        exit_code=CheckFailed.exit_code if answer is Answer.FAILS else 0,
    )


def _attack_in_words(lower: float | None, claimed: float | None, confidence: float | None, answer: Answer) -> str:
    if answer is Answer.CANNOT_TELL:
        return "the attack could not tell"
    if lower is None:
        return "nothing was found" if answer is Answer.HOLDS else "the attack found what must not be"
    against = "" if claimed is None else f", epsilon {claimed:.3f} is claimed"
    sure = "" if confidence is None else f" at {confidence:.3g} confidence"
    return f"shows epsilon of at least {lower:.3f}{sure}{against}"


def _checked_number(value: Any) -> float | None:  # noqa: ANN401 - any JSON value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ValueError(value)
    return float(value)
