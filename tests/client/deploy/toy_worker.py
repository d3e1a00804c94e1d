"""A worker without torch: what it does is said in the message. `python toy_worker.py --config FILE --socket S`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict

from client.deploy.worker import serve
from client.deploy.worker_main import end_with_parent
from common.errors import BudgetExhausted
from common.service.signals import end_by_signal

HOSTILE = "patient-name John Doe"


def handle(bundle_hash: str, message: Message) -> Message:
    """Do what the message says."""
    order = message.content.config_records["order"]
    match order["do"]:
        case "raise":
            raise ValueError(HOSTILE)
        case "refuse":
            raise BudgetExhausted(HOSTILE)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            logging.info("sleeps for %s", order["seconds"])
            time.sleep(float(str(order["seconds"])))
    answer: dict[str, int | float | str] = {"bundle": bundle_hash, "pid": os.getpid(), "network": _reaches(order)}
    return Message(RecordDict({**message.content, "answer": ConfigRecord(dict(answer))}), reply_to=message)


def _reaches(order: ConfigRecord) -> int:
    """Whether this process can reach a port of the machine's loopback."""
    try:
        with socket.create_connection(("127.0.0.1", int(str(order.get("port", 9)))), timeout=2):
            return 1
    except OSError:
        return 0


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--socket", type=Path)
    end_with_parent()
    with end_by_signal() as end:
        serve(handle, parser.parse_args().socket, ended=end.is_set)


if __name__ == "__main__":
    main()
