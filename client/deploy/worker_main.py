"""The worker's process: `python -m client.deploy.worker_main --config site.yaml --socket S`. The agent starts it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from client.deploy.worker import serve
from common.errors import WardroundError
from common.service.cores import usable_cores
from common.service.log_format import last_output, log_as_json
from common.service.signals import end_by_signal

_WATCH_SECONDS = 1.0
_log = logging.getLogger("wardround.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end, or until the agent has ended.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    log_as_json("worker", handler=logging.StreamHandler(last_output()))
    end_with_parent()
    with end_by_signal() as end:
        try:
            import torch  # here: the rest of this file does without

            from client.deploy.local_worker import open_worker

            if "OMP_NUM_THREADS" not in os.environ:
                torch.set_num_threads(usable_cores())
            with open_worker(options.config) as worker:
                serve(worker.answer, options.socket, ended=end.is_set, work=worker.work)
        except WardroundError as error:
            _log.error("%s", error)
            return error.exit_code
    return 0


def end_with_parent() -> None:
    """End this process soon after its parent has, in the middle of a message if need be.

    On Linux the agent has asked the kernel for the same (`common/service/launcher.py`); this holds everywhere.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the hospital's site.yaml")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    return parser


if __name__ == "__main__":
    sys.exit(main())
