"""Who may use Flower's Control API: who can read a file in the server's folder.

Flower's open-source server lets everyone in who reaches the port, and who reaches it sends code to every site. The port
is on loopback alone, and that still lets in each user and each program of the machine. So each call carries a token, of
256 random bits, made anew at each start and readable by the server's user alone.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from flwr.common.constant import ACCESS_TOKEN_KEY, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.supercore.auth.typing import AccountAuthCredentials, AccountAuthLoginDetails, AccountInfo
from flwr.superlink.auth_plugin import ControlAuthnPlugin


class ControlToken(ControlAuthnPlugin):
    """Flower's way to ask who calls: whoever shows the token is the one account that there is.

    Args:
        token: The token.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def validate_tokens_in_metadata(
        self, metadata: Sequence[tuple[str, str | bytes]]
    ) -> tuple[bool, AccountInfo | None]:
        """Whether a call shows the token, and as whom it is answered."""
        shown = dict(metadata).get(ACCESS_TOKEN_KEY, "")
        if not hmac.compare_digest(shown.encode() if isinstance(shown, str) else shown, self._token):
            return False, None
        return True, AccountInfo(flwr_aid=NOOP_FLWR_AID, account_name=NOOP_ACCOUNT_NAME)

    def get_login_details(self) -> AccountAuthLoginDetails | None:
        """None: nobody logs in."""
        return None

    def get_auth_tokens(self, device_code: str) -> AccountAuthCredentials | None:  # noqa: ARG002 - Flower's signature
        """None: no token is given out."""
        return None

    def refresh_tokens(
        self, metadata: Sequence[tuple[str, str | bytes]]
    ) -> tuple[Sequence[tuple[str, str | bytes]] | None, AccountInfo | None]:
        """None: no token is renewed."""
        del metadata
        return None, None
