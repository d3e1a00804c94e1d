"""An agent with the toy worker, as a process: `python agent_main.py STATE_FOLDER`."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from client.deploy.agent import Agent
from client.deploy.identity import read_identity
from common.service.signals import end_by_signal

TOY_WORKER = (sys.executable, str(Path(__file__).with_name("toy_worker.py")))


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    state = Path(sys.argv[1])
    agent = Agent(read_identity(state, now=datetime.now(UTC)), state / "site.yaml", worker_command=TOY_WORKER)

    def on_ready() -> None:
        sys.stdout.write(json.dumps(agent.status()) + "\n")
        sys.stdout.flush()

    with end_by_signal() as end:
        agent.run(end, on_ready=on_ready)


if __name__ == "__main__":
    main()
