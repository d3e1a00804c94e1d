"""The noise that a site shares in one round of a run: with whom, and each step's draws of it.

What it protects: `common/pair_noise/law.py`. Before anything is drawn the site checks by itself that it is to share
noise with members alone: those whom the run that it approved names, each by a statement of its own of this run. A
server that invents members, or swaps their keys, is refused. Who is planned and not there is replaced by a draw of the
site's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from client.dp.grid_noise import NoiseParts, SharedPart
from common.canonical import digest
from common.errors import CohortSmall, PairKeyError
from common.pair_noise.keys import PairKey, PairStatement, step_key
from common.pair_noise.law import PairLaw
from common.pair_noise.peers import peers_of
from common.privacy.keystream import Keystream
from common.trust.keys import PublicKey


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """A site among those that it shares noise with, in one run.

    Attributes:
        key: The site's own key of this run.
        law: How much noise is shared.
        cohort: Signing key of each site that the run plans with, this one among them.
        least_peers: Fewest peers with which this site takes part in a round.
    """

    key: PairKey
    law: PairLaw
    cohort: Mapping[str, PublicKey]
    least_peers: int

    def open_round(self, statements: Sequence[PairStatement], *, context: str) -> RoundNoise:
        """The noise of one round; nothing of it is drawn yet.

        Args:
            statements: Of the sites that take part, as the server passed them on.
            context: Digest of what opened the round, in hexadecimal.

        Raises:
            PairKeyError: A site is no member, is named twice or has another's key, a statement does not hold, or this
                site's own is not that of now.
            CohortSmall: There are fewer peers than the hospital asks for.
        """
        self._check(statements)
        planned = peers_of(self._site, self.cohort)
        there = [statement for statement in statements if statement.site in planned]
        if len(there) < self.least_peers:
            raise CohortSmall(
                f"{len(there)} hospitals are there to share noise with, and privacy.least_peers of site.yaml asks for "
                f"{self.least_peers}"
            )
        return RoundNoise(
            law=self.law,
            pairs=tuple((self._sign(peer), self.key.shared_with(peer)) for peer in there),
            absent=len(planned) - len(there),
            context=context,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the members' names and keys, in hexadecimal."""
        return digest({site: key.hex for site, key in self.cohort.items()})

    @property
    def _site(self) -> str:
        return self.key.statement.site

    def _sign(self, peer: PairStatement) -> int:
        """Plus where the own name comes first: the peer comes to the other sign."""
        return 1 if self._site < peer.site else -1

    def _check(self, statements: Sequence[PairStatement]) -> None:
        if self.key.statement not in statements:
            raise PairKeyError("the task names another pair key of this site than it has now, or none")
        for what in ([one.site for one in statements], [one.key for one in statements]):
            if len(set(what)) < len(what):
                raise PairKeyError("the task names a site or a pair key twice")
        for statement in statements:
            if statement.site not in self.cohort:
                raise PairKeyError(f"{statement.site}: is no member of the cohort that was approved")
            statement.check(self.cohort[statement.site], run=self.key.statement.run)


@dataclass
class RoundNoise:
    """A round's shared noise, step after step.

    Attributes:
        law: How much noise is shared.
        pairs: For each peer that is there the sign of the own part, and the pair's key.
        absent: Planned peers that are not there.
        context: Digest of what opened the round: with the same one, the same noise would be drawn.
    """

    law: PairLaw
    pairs: tuple[tuple[int, bytes], ...]
    absent: int
    context: str
    _steps: int = field(default=0, init=False)

    def next_step(self) -> NoiseParts:
        """The draws of the next step; no step's are given twice."""
        step, self._steps = self._steps, self._steps + 1
        return NoiseParts(
            num_own=1 + self.absent,
            shared=tuple(
                SharedPart(
                    factor=sign * self.law.factor,
                    stream=Keystream(step_key(key, context=self.context, step=step)),
                )
                for sign, key in self.pairs
            ),
        )
