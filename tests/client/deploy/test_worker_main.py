"""The worker's process: what reads studies writes log entries, and nothing else, wherever it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, RecordDict

from client.deploy.message_bytes import RAISED
from client.deploy.worker_client import WorkerClient
from tests.client.deploy.test_message_bytes import HASH, message_of

SCRIPT = """
import contextlib, logging, os, sys, types, warnings
HOSTILE = "patient-name John Doe"

def handle(bundle, message):
    match message.content.config_records["order"]["do"]:
        case "raise":
            raise ValueError(HOSTILE)
        case "chain":
            try:
                raise OSError(28, HOSTILE, HOSTILE)
            except OSError as error:
                raise RuntimeError(HOSTILE) from error
        case "print":
            print(HOSTILE, flush=True)
            sys.stderr.write(HOSTILE + "\\n")
            os.write(2, HOSTILE.encode())
            os.system(f"echo {HOSTILE}")
        case "warn":
            warnings.warn(HOSTILE)
            logging.getLogger("pydicom").error(HOSTILE)
    raise ValueError(HOSTILE)

@contextlib.contextmanager
def open_worker(config):
    yield types.SimpleNamespace(answer=handle, work=lambda: False)

# In the place of the module that loads torch.
sys.modules["client.deploy.local_worker"] = types.SimpleNamespace(open_worker=open_worker)
from client.deploy.worker_main import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker's process; its output lies in the folder."""
    command = [sys.executable, "-c", SCRIPT, "--config", str(folder / "site.yaml"), "--socket", str(folder / "s" / "s")]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def said(folder: Path) -> str:
    return (folder / "output").read_text()


@pytest.mark.parametrize("order", ["raise", "chain", "print", "warn"])
def test_hostile_text_leaves_neither_in_the_reply_nor_in_the_log(tmp_path: Path, order: str) -> None:
    with worker(tmp_path):
        client = WorkerClient(socket=tmp_path / "s" / "s", patience_seconds=40)
        reply = client.ask(HASH, message_of(RecordDict({"order": ConfigRecord({"do": order})})), within_seconds=40)
    assert reply.error.reason == RAISED
    entries = [json.loads(line) for line in said(tmp_path).splitlines()]
    assert "John" not in said(tmp_path)
    failed = [entry for entry in entries if entry["level"] == "error" and entry["logger"] == "wardround.worker"]
    assert [entry["process"] for entry in failed] == ["worker"]
    assert failed[0]["errors"][0]["at"][-1].startswith("__main__:")


def test_error_of_ours_ends_it_with_its_code_and_one_entry(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "client.deploy.worker_main"]
    options = ["--config", str(tmp_path / "none.yaml"), "--socket", str(tmp_path / "s")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    (entry,) = (json.loads(line) for line in done.stderr.splitlines())
    assert entry["message"].startswith(f"ConfigError: {tmp_path / 'none.yaml'}: ")
