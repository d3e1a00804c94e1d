"""Logs are one JSON object a line, and a patient's name in an error never reaches one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError, DataError, TrustError
from common.service.log_format import JsonFormatter, in_words
from common.service.processes import ChildSpec
from common.service.supervisor import Supervisor
from tests.common.service.children import python, until

HOSTILE = "patient-name John Doe"
BEGIN = "import logging, os, sys, threading, warnings\nfrom common.service.log_format import log_as_json, last_output\n"


def entry_of(*arguments: object, logger: str = "wardround.site", error: BaseException | None = None) -> dict[str, Any]:
    message, *rest = arguments
    record = logging.LogRecord(
        logger,
        logging.ERROR,
        __file__,
        1,
        message,
        tuple(rest),
        (type(error), error, error.__traceback__) if error else None,
    )
    text = JsonFormatter("worker").format(record)
    assert text.isascii()
    assert text.isprintable(), "one line, no colours"
    found: dict[str, Any] = json.loads(text)
    return found


def raised(error: BaseException, *, cause: BaseException | None = None) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


def said_by(script: str) -> list[str]:
    """Lines that a process with such logs writes, wherever it writes them."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script], capture_output=True, text=True, check=False, timeout=60
    )
    return (done.stdout + done.stderr).splitlines()


def test_entry_says_when_what_and_who() -> None:
    before = datetime.now(UTC)
    entry = entry_of("site %s joined round %d", "north", 3)
    assert before.timestamp() - 0.001 <= datetime.fromisoformat(entry["time"]).timestamp()
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() == datetime.now(UTC).utcoffset()
    assert entry == {
        "level": "error",
        "logger": "wardround.site",
        "process": "worker",
        "message": "site north joined round 3",
    }


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred\x1b[0m", "line\u2028separator", 'quote" and \\', "\r"])
def test_entry_of_any_text_is_one_line_that_reads_back(text: str) -> None:
    assert entry_of("%s", text)["message"] == text


@pytest.mark.parametrize(
    "error",
    [ValueError(HOSTILE), OSError(28, HOSTILE, HOSTILE), KeyError(HOSTILE), DataError(HOSTILE), RuntimeError(HOSTILE)],
)
@pytest.mark.parametrize(
    "logged",
    [
        lambda error: entry_of("failed", error=error),
        lambda error: entry_of("failed: %s", error),
        lambda error: entry_of("failed: %r in %d tries", error, 3),
        lambda error: entry_of("failed: %(why)s", {"why": error}),
        lambda error: entry_of(error),
        lambda error: entry_of("failed", error=raised(ConfigError("ours"), cause=error)),
        lambda error: entry_of(f"Exception calling application: {error}", logger="grpc._server", error=error),
        lambda error: entry_of(f"Invalid value for VR PN: {error}", logger="pydicom"),
        lambda error: entry_of("%s", str(error), logger="py.warnings"),
        lambda error: entry_of(str(error), logger="clientele"),
    ],
)
def test_text_of_an_error_that_is_not_ours_is_never_written(
    error: BaseException, logged: Callable[[BaseException], dict[str, Any]]
) -> None:
    entry = json.dumps(logged(raised(error)))
    assert "John" not in entry
    assert "Doe" not in entry


def test_error_is_written_by_type_symbol_and_place() -> None:
    error = raised(OSError(28, HOSTILE), cause=raised(ValueError(HOSTILE)))
    first, second = entry_of("failed", error=error)["errors"]
    assert (first["type"], first["text"]) == ("OSError", "OSError ENOSPC")
    assert [place.partition(":")[0] for place in first["at"]] == [__name__]
    assert (second["type"], set(second)) == ("ValueError", {"type", "at"})


def test_our_own_errors_keep_their_text() -> None:
    error = TrustError("members.json: signature does not hold; restore the newest copy")
    assert entry_of("%s", error)["message"] == f"TrustError: {error}"
    assert entry_of("refused", error=raised(error))["errors"][0]["text"] == f"TrustError: {error}"
    assert in_words(DataError("/data/John Doe.dcm: unreadable")).endswith("wardround site check shows what")


def test_message_that_does_not_fit_its_arguments_is_its_template() -> None:
    assert entry_of("%d studies", HOSTILE)["message"] == "%d studies"
    assert entry_of("100%", HOSTILE)["message"] == "100%"


def test_flower_is_heard_and_other_software_only_where_it_spoke() -> None:
    assert entry_of("Starting SuperLink", logger="flwr")["message"] == "Starting SuperLink"
    assert "test_log_format:1 said something" in entry_of("hello", logger="urllib3.connectionpool")["message"]


def test_childs_entry_is_passed_on_and_any_other_line_is_its_message() -> None:
    entry = {"time": "t", "level": "error", "logger": "wardround.site", "process": "worker", "message": "m"}
    formatter = JsonFormatter("agent")

    def passed(line: str) -> dict[str, Any]:
        record = logging.LogRecord("wardround.worker", logging.INFO, __file__, 1, line, (), None)
        record.child = "worker"
        found: dict[str, Any] = json.loads(formatter.format(record))
        return found

    assert passed(json.dumps(entry)) == entry
    for line in ("plain words", "{not json", '{"time": "no entry"}', "{}"):
        assert (passed(line)["message"], passed(line)["process"]) == (line, "worker")


def test_line_of_flowers_own_processes_keeps_its_level() -> None:
    record = logging.LogRecord(
        "wardround.supernode", logging.INFO, __file__, 1, "WARNING :   Retrying in 1 s", (), None
    )
    record.child = "supernode"
    entry = json.loads(JsonFormatter("agent").format(record))
    assert (entry["level"], entry["message"]) == ("warning", "Retrying in 1 s")


def test_everything_a_process_says_becomes_an_entry() -> None:
    lines = said_by(
        f"""
class Late:
    def __del__(self): raise ValueError({HOSTILE!r})
def fails(): raise ValueError({HOSTILE!r})
flower = logging.getLogger("flwr")
flower.addHandler(logging.StreamHandler(sys.stdout))
flower.propagate = False
log_as_json("worker")
logging.getLogger("wardround.site").info("hello")
logging.getLogger("wardround.site").info("%d", {HOSTILE!r})
flower.info("flower")
warnings.warn({HOSTILE!r})
logging.getLogger("PIL").error({HOSTILE!r})
late = Late(); del late
thread = threading.Thread(target=fails); thread.start(); thread.join()
fails()
"""
    )
    entries = [json.loads(line) for line in lines]
    assert [entry["message"] for entry in entries][:3] == ["hello", "%d", "flower"]
    assert len(entries) == 8
    assert [entry["errors"][0]["type"] for entry in entries[-3:]] == ["ValueError"] * 3
    assert "John" not in "".join(lines)


def test_last_output_is_the_logs_alone() -> None:
    lines = said_by(
        f"""
log_as_json("worker", handler=logging.StreamHandler(last_output()))
print({HOSTILE!r})
print({HOSTILE!r}, file=sys.stderr, flush=True)
os.write(1, b"John Doe")
os.write(2, b"terminate called: what(): John Doe")
os.system("echo John Doe")
logging.getLogger("wardround.site").warning("heard")
"""
    )
    assert [json.loads(line)["message"] for line in lines] == ["heard"]


def test_entry_that_cannot_be_written_is_lost_in_silence() -> None:
    lines = said_by(
        f"""
class Unwritable:
    def __str__(self): raise RuntimeError({HOSTILE!r})
stream = open(os.devnull, "w")
log_as_json("worker")
logging.getLogger("wardround.site").error("of %s", Unwritable())
log_as_json("worker", handler=logging.StreamHandler(stream))
stream.close()
logging.getLogger("wardround.site").error("failed: %s", ValueError({HOSTILE!r}))
"""
    )
    assert [json.loads(line)["message"] for line in lines] == ["of %s"]


def test_crash_of_compiled_code_leaves_places_alone() -> None:
    lines = said_by(
        f"""
import ctypes
log_as_json("worker", handler=logging.StreamHandler(last_output()))
name = {HOSTILE!r}
ctypes.string_at(0)
"""
    )
    assert any("Segmentation fault" in line for line in lines)
    assert "John" not in "".join(lines)


def test_childs_file_is_json_too(tmp_path: Path) -> None:
    entry = json.dumps({"time": "t", "level": "info", "logger": "l", "process": "p", "message": "structured"})
    heard: list[str] = []
    child: ChildSpec = python("child", f"print('plain'); print({entry!r})", on_line=heard.append)
    supervisor = Supervisor([child], log_folder=tmp_path)
    supervisor.start()
    until(lambda: len(heard) == 2)
    supervisor.stop()
    entries = [json.loads(line) for line in (tmp_path / "child.log").read_text().splitlines()]
    assert [entry["message"] for entry in entries] == ["plain", "structured"]
