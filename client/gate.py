"""The gate: the outermost layer of a site's own code. What it does not let through does not leave.

Deny by default: every record of a reply must be listed as a release, and the release's mechanism must be one that the
site's policy allows. An error leaves as a reason code; its text stays in the site's log. A mod wraps the functions of
a Flower app that are registered with it, so each one must be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message, RecordDict

from common.errors import AdmissionError, PolicyRefusal, WardroundError
from common.privacy.release import Mechanism
from common.wire.flower import RELEASES, releases_of, releases_to_record

Handler = Callable[[Message, Context], Message]
ERROR_CODE = 1


class Gate:
    """A Flower mod that guards one site.

    Args:
        allowed: Mechanisms whose releases may leave.
        log: The site's own log.
    """

    def __init__(self, allowed: frozenset[Mechanism], log: logging.Logger) -> None:
        self._allowed = allowed
        self._log = log

    def __call__(self, message: Message, context: Context, handle: Handler) -> Message:
        """Handle a message and let its reply through, or answer with a reason code."""
        try:
            reply = handle(message, context)
            self._check(reply.content)
        except WardroundError as error:
            self._log.error("refused: %s", error)
            return Message(Error(ERROR_CODE, error.reason), reply_to=message)
        except Exception:
            self._log.exception("failed; the server is told only that this site failed")
            return Message(Error(ERROR_CODE, "raised"), reply_to=message)
        return reply

    def _check(self, records: RecordDict) -> None:
        try:
            listed = releases_of(records)
        except AdmissionError as error:
            raise PolicyRefusal("the reply lists no releases") from error
        if records[RELEASES] != releases_to_record(listed):
            raise PolicyRefusal(f"{RELEASES!r} holds more than a list of releases")
        releases = {release.name: release for release in listed}
        for name in records:
            if name == RELEASES:
                continue
            if name not in releases:
                raise PolicyRefusal(f"the reply holds {name!r}, which is not listed as a release")
            if releases[name].mechanism not in self._allowed:
                raise PolicyRefusal(f"{name!r} was made by {releases[name].mechanism}, which the policy does not allow")
