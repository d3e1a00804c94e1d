"""Logs of processes that run for long: JSON, one object a line, and nothing in it by which a patient could be known.

    {"time": "2026-01-31T22:04:05.678+00:00", "level": "error", "logger": "wardround.site", "process": "worker",
     "message": "failed; the server is told only that this site failed",
     "errors": [{"type": "ValueError", "at": ["client.gate.gate:98", "client.data.images:57"]}]}

An error's text is whatever raised it found in its hands, and at a hospital that may be a name or a path with one. So

| what | what is written of it |
| --- | --- |
| an error of ours (`common/errors.py`) | its type and its text, which names files, keys and remedies |
| a `DataError` | its type, and the command that shows it: it speaks of studies, whose files may bear names |
| any other error, and what caused it | its type, a system error's symbol (ENOSPC), the lines it came through |
| a message of ours, or of Flower, which sees no studies at a hospital | the message, with errors in it as above |
| a message or warning of other software | where it was said |
| a line that a child wrote | an entry of this form as it is, any other as a message of the child |

Line breaks, colours and whatever else is not plain ASCII are escaped, so that one entry is one line. A traceback that
Python would write by itself becomes an entry too.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from common.errors import DataError, WardroundError

OURS = ("wardround", "client", "server", "strategies", "common", "simulations")
"""Loggers whose messages hold nothing of a patient; CONTRIBUTING.md asks for it."""

FLOWER = ("flwr", "uvicorn")
"""Loggers of Flower, whose processes never see a study."""

_MOST_PLACES = 20
_MOST_CAUSES = 8
_FLOWERS_LINE = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) *: *(.*)")
_FIELDS = {"time", "level", "logger", "process", "message"}
_log = logging.getLogger("wardround.process")


def log_as_json(process: str, *, handler: logging.Handler | None = None) -> None:
    """Have all that this process logs written as JSON; call it when what it uses was imported.

    Flower and uvicorn put handlers of their own to their loggers when they are imported: those are taken away.

    Args:
        process: Name of the process in its entries.
        handler: Where to; standard error when left out.
    """
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (*OURS, *FLOWER):
        logging.getLogger(name).setLevel(logging.INFO)
    for name in FLOWER:
        _give_up_handlers(name)
    # What `logging` says of an entry that cannot be written holds the entry's arguments.
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    _log_what_python_would_print()


def last_output() -> TextIO:
    """Cut standard output and error off; what was standard error is returned, and nothing else writes to it.

    For a process that reads studies: what compiled code, a stray `print` or a dying interpreter writes may hold any of
    them. A crash of compiled code writes its frames there (`faulthandler`), which are names of functions and lines.
    """
    stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for output in (sys.stdout, sys.stderr):
        output.flush()
        os.dup2(nothing, output.fileno())
    os.close(nothing)
    faulthandler.enable(stream)
    return stream


class JsonFormatter(logging.Formatter):
    """Writes an entry as one JSON object.

    Args:
        process: Name of the process; a child's lines carry the child's.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The entry."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": _message(record),
        }
        if (child := getattr(record, "child", None)) is not None:
            entry = _entry_in(entry["message"]) or entry | {"process": child} | _leveled(entry["message"])
        if record.exc_info and record.exc_info[1] is not None:
            entry["errors"] = [_as_json(error) for error in _with_causes(record.exc_info[1])]
        return json.dumps(entry)


def in_words(error: BaseException) -> str:
    """What may be written of an error; a text of its own only where it is ours and speaks of no study."""
    name = type(error).__name__
    if isinstance(error, DataError):
        return f"{name}: something is wrong with the studies; wardround site check shows what"
    if isinstance(error, WardroundError):
        return f"{name}: {error}"
    number = error.errno if isinstance(error, OSError) else None
    return name if number is None else f"{name} {errno.errorcode.get(number, number)}"


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] not in (*OURS, *FLOWER):
        return f"{record.module}:{record.lineno} said something; the text of other software is left out"
    template, arguments = str(_safe(record.msg)), record.args
    if not arguments:
        return template
    try:
        if isinstance(arguments, Mapping):
            return template % {key: _safe(value) for key, value in arguments.items()}
        return template % tuple(_safe(value) for value in arguments)
    except Exception:
        # Too few arguments, or one that cannot be written: the rest of the entry is worth having all the same.
        return template


def _safe(value: object) -> object:
    return in_words(value) if isinstance(value, BaseException) else value


def _as_json(error: BaseException) -> dict[str, Any]:
    said: dict[str, Any] = {"type": type(error).__name__, "at": _places(error.__traceback__)}
    if (words := in_words(error)) != said["type"]:
        said["text"] = words
    return said


def _places(trace: TracebackType | None) -> list[str]:
    """Modules and lines that an error came through, the last one where it was raised."""
    frames = list(traceback.walk_tb(trace))[-_MOST_PLACES:]
    return [f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in frames]


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, then what caused it, as Python would tell them."""
    found: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if found is None:
            return
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _entry_in(line: str) -> dict[str, Any] | None:
    """The entry that a line is; None where it is none."""
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and set(entry) >= _FIELDS else None


def _leveled(line: str) -> dict[str, Any]:
    """Level and message of a line as Flower's own processes write it; nothing of any other."""
    found = _FLOWERS_LINE.fullmatch(line)
    return {} if found is None else {"level": found[1].lower(), "message": found[2]}


def _give_up_handlers(name: str) -> None:
    """Leave what a logger and those below it say to the root's handler."""
    below = [known for known in logging.Logger.manager.loggerDict if known.startswith(f"{name}.")]
    for each in (name, *below):
        logger = logging.getLogger(each)
        logger.handlers.clear()
        logger.propagate = True


def _log_what_python_would_print() -> None:
    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _log.critical("ended by an error that nobody foresaw", exc_info=(kind, error, trace))

    def in_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None:
            _log.critical("a thread ended by an error that nobody foresaw", exc_info=found.exc_value)

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        if found.exc_value is not None:
            _log.error("an error could not be raised", exc_info=found.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
