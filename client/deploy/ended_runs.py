"""A SuperNode whose run ends while its message is still coming: it ends too, and is started again.

Flower 1.41 makes a task of a message before the parts of it are here. Where the run ends meanwhile, as it does when the
server's process is killed in a round and the next run takes it up, the SuperNode ignores the message and leaves the
task: whoever took that waits for its parts for two hours, and the next run's message behind it. A new life has no such
task.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal

_RECEIVES = "_pull_and_store_message"
_CALLS = ("pull_object", "confirm_message_received")
"""Options of Flower's function: what it asks of the server once there is a task."""

P = ParamSpec("P")
T = TypeVar("T")


def end_with_ended_run() -> None:
    """Let the SuperNode of this process end so.

    Raises:
        RuntimeError: Flower receives messages otherwise.
    """
    receive = vars(start_client_internal).get(_RECEIVES)
    if receive is None or not set(_CALLS) <= inspect.signature(receive).parameters.keys():
        raise RuntimeError("flwr: messages are received otherwise; install the version that pyproject.toml names")

    def received(**options: Any) -> int | None:  # noqa: ANN401 - Flower's options
        watch = _Watch()
        calls = {name: watch.over(options[name]) for name in _CALLS}
        run_id: int | None = receive(**{**options, **calls})
        if watch.saw_the_end:
            raise SystemExit("the run ended while its message was coming; the SuperNode is started again")
        return run_id

    vars(start_client_internal)[_RECEIVES] = received


class _Watch:
    """Whether the server said, to one of some calls, that the run has ended."""

    def __init__(self) -> None:
        self.saw_the_end = False

    def over(self, call: Callable[P, T]) -> Callable[P, T]:
        """The same call, watched."""

        def watched(*arguments: P.args, **options: P.kwargs) -> T:
            try:
                return call(*arguments, **options)
            except RunNotRunningException:
                self.saw_the_end = True
                raise

        return watched
