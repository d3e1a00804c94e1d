"""Shared noise in a round: it cancels to the last unit, is as wide as stated, never drawn twice, with members alone.

The last part plays two worlds, with one patient and without, against whoever sees every message, all that the colluding
members drew, and what the others share among themselves: the worst graph. Each value is one trial of the same game.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from client.dp.discrete_gaussian import DEVIATION, discrete_gaussian
from client.dp.grid_noise import NoiseParts, SharedPart, draw_grid_noise, grid_spacing
from client.dp.round_noise import Pairing, RoundNoise
from common.errors import CohortSmall, PairKeyError
from common.pair_noise.keys import PairKey, PairStatement
from common.pair_noise.law import PairLaw
from common.pair_noise.peers import MOST_PEERS
from common.privacy.keystream import Keystream
from common.trust.keys import SigningKey

RUN, CONTEXT = "a" * 64, "c" * 64
NAMES = ("east", "north", "south", "west", "xanten")
Rows = npt.NDArray[np.float64]


def cohort(
    names: Sequence[str] = NAMES, *, colluding: int = 1, factor: int = 1, least_peers: int = 0
) -> dict[str, Pairing]:
    """Sites that are to share noise, each with keys of its own."""
    signing = {name: SigningKey.fresh() for name in names}
    law = PairLaw(peers=len(names) - 1, colluding=colluding, factor=factor)
    return {
        name: Pairing(
            key=PairKey(site=name, run=RUN, signing_key=signing[name]),
            law=law,
            cohort={member: key.public for member, key in signing.items()},
            least_peers=least_peers,
        )
        for name in names
    }


def statements(sites: Mapping[str, Pairing]) -> tuple[PairStatement, ...]:
    return tuple(site.key.statement for site in sites.values())


def add_grid_noise(total: Tensor, *, standard_deviation: float, stream: Keystream, parts: NoiseParts) -> Tensor:
    """A total with noise that is drawn now."""
    noise = draw_grid_noise(total.numel(), standard_deviation=standard_deviation, stream=stream, parts=parts)
    return noise.added_to(total)


def rounds(sites: Mapping[str, Pairing], *, context: str = CONTEXT) -> dict[str, RoundNoise]:
    return {name: site.open_round(statements(sites), context=context) for name, site in sites.items()}


def whole_numbers(parts: NoiseParts, count: int) -> npt.NDArray[np.int64]:
    """The shared draws of one step as the grid holds them."""
    drawn = np.zeros(count, dtype=np.int64)
    for part in parts.shared:
        drawn += part.factor * discrete_gaussian(count, part.stream)
    return drawn


# What is drawn


@pytest.mark.parametrize("factor", [1, 3])
def test_shared_parts_cancel_to_the_last_unit(factor: int) -> None:
    opened = rounds(cohort(factor=factor))
    for _ in range(2):
        drawn = [whole_numbers(noise.next_step(), 1000) for noise in opened.values()]
        assert all(np.abs(one).min() > 0 for one in drawn)
        assert not sum(drawn).any()


def test_messages_and_their_sum_are_as_wide_as_stated() -> None:
    """N = 200,000: the deviation of a sample is within 1% with probability 1 - 3e-10."""
    sites = cohort()
    law, count = sites["north"].law, 200_000
    messages = [
        add_grid_noise(torch.zeros(count), standard_deviation=2.0, stream=Keystream.fresh(), parts=noise.next_step())
        for noise in rounds(sites).values()
    ]
    for message in messages:
        assert float(message.std()) == pytest.approx(2.0 * math.sqrt(1 + law.peers), rel=0.01)
    assert float(torch.stack(messages).double().sum(dim=0).std()) == pytest.approx(2.0 * math.sqrt(5), rel=0.01)


def test_absent_peer_is_replaced_by_a_draw_of_the_own() -> None:
    sites = cohort()
    there = {name: sites[name] for name in ("east", "north", "south")}
    noise = sites["north"].open_round(statements(there), context=CONTEXT)
    parts = noise.next_step()
    assert (noise.absent, len(noise.pairs), parts.num_own, len(parts.shared)) == (2, 2, 3, 2)
    alone = sites["north"].open_round((sites["north"].key.statement,), context=CONTEXT)
    assert (alone.absent, alone.next_step().num_own) == (4, 5)


def test_no_two_steps_rounds_or_pairs_share_noise() -> None:
    """Correlations of 50,000 values: one above 6 standard errors has probability 2e-9."""
    sites, count = cohort(NAMES[:3]), 50_000
    streams = [
        part.stream
        for context in (CONTEXT, "d" * 64)
        for noise in [sites["north"].open_round(statements(sites), context=context)]
        for _ in range(2)
        for part in noise.next_step().shared
    ]
    drawn = np.stack([discrete_gaussian(count, stream) / DEVIATION for stream in streams])
    assert len(drawn) == 8
    off_diagonal = np.corrcoef(drawn)[~np.eye(len(drawn), dtype=bool)]
    assert np.abs(off_diagonal).max() < 6 / math.sqrt(count)


def test_largest_total_and_the_widest_noise_stay_in_range() -> None:
    """All peers there, or all away, at the largest factor, on a total at the edge of what is let in."""
    spacing, most = grid_spacing(1.0), 2.0**62
    for num_own, num_shared in ((1, MOST_PEERS), (1 + MOST_PEERS, 0)):
        parts = NoiseParts(
            num_own=num_own,
            shared=tuple(SharedPart(factor=3, stream=Keystream.fresh()) for _ in range(num_shared)),
        )
        total = torch.full((1000,), most * spacing, dtype=torch.float64)
        noised = add_grid_noise(total, standard_deviation=1.0, stream=Keystream.fresh(), parts=parts)
        assert float((noised.double() / float(total[0]) - 1).abs().max()) < 1e-6, "an integer wrapped around"


# With whom


def hostile(change: Callable[[dict[str, Pairing]], Iterable[PairStatement]]) -> None:
    sites = cohort()
    sites["north"].open_round(tuple(change(sites)), context=CONTEXT)


def invented(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    return (*statements(sites), PairKey(site="invented", run=RUN, signing_key=SigningKey.fresh()).statement)


def swapped(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    servers = PairKey(site="south", run=RUN, signing_key=SigningKey.fresh()).statement
    return (servers if one.site == "south" else one for one in statements(sites))


def unsigned(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    return (replace(one, signature="0" * 128) if one.site == "south" else one for one in statements(sites))


def renamed(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    return (
        replace(one, site="west") if one.site == "south" else one for one in statements(sites) if one.site != "west"
    )


def twice(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    return (*statements(sites), sites["south"].key.statement)


def of_another_run(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    return (replace(one, run="b" * 64) if one.site == "south" else one for one in statements(sites))


def without_own(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    return (one for one in statements(sites) if one.site != "north")


def own_of_a_killed_process(sites: dict[str, Pairing]) -> Iterable[PairStatement]:
    before = PairKey(site="north", run=RUN, signing_key=SigningKey.fresh()).statement
    return (before if one.site == "north" else one for one in statements(sites))


@pytest.mark.parametrize(
    "change", [invented, swapped, unsigned, renamed, twice, of_another_run, without_own, own_of_a_killed_process]
)
def test_server_that_lies_about_the_members_is_refused(
    change: Callable[[dict[str, Pairing]], Iterable[PairStatement]],
) -> None:
    with pytest.raises(PairKeyError):
        hostile(change)


def test_fewer_peers_than_the_hospital_asks_for_are_refused() -> None:
    sites = cohort(least_peers=2)
    two, three = ({name: sites[name] for name in NAMES[:count]} for count in (2, 3))
    assert sites["east"].open_round(statements(three), context=CONTEXT).absent == 2
    with pytest.raises(CohortSmall, match="least_peers"):
        sites["east"].open_round(statements(two), context=CONTEXT)


# Two worlds

TRIALS, EPSILON, ALPHA = 200_000, 1.0, 1e-5
TOLERANCE = math.sqrt(math.log(2 / ALPHA) / (2 * TRIALS)) * (1 + math.exp(EPSILON))
"""Of the divergence between two samples of trials, with probability 1 - alpha (Dvoretzky, Kiefer and Wolfowitz)."""


@dataclass
class View:
    """What colluders see: a row a message or draw, how each is made of draws of unit variance, and of the patient."""

    seen: list[Rows]
    made_of: list[dict[object, float]]
    patient: list[float]

    def note(self, row: Rows, made_of: dict[object, float], *, patient: float = 0.0) -> None:
        """Add a row."""
        self.seen.append(row)
        self.made_of.append(made_of)
        self.patient.append(patient)

    def statistic(self) -> Rows:
        """The best linear one: its mean is what the patient adds, over its own deviation."""
        draws = {draw: column for column, draw in enumerate(dict.fromkeys(itertools.chain(*self.made_of)))}
        noise = np.zeros((len(self.made_of), len(draws)))
        for row, parts in enumerate(self.made_of):
            for draw, size in parts.items():
                noise[row, draws[draw]] += size
        patient = np.array(self.patient)
        weights = np.linalg.lstsq(noise @ noise.T, patient, rcond=1e-10)[0]
        return weights @ np.stack(self.seen) / math.sqrt(weights @ patient)


def play(
    law: PairLaw,
    own: float,
    *,
    patient: bool,
    colluders: int,
    steps: int = 2,
    contexts: Sequence[str] = (CONTEXT,),
    absent: int = 0,
    replaced: bool = True,
    shared_in_every_step: bool = True,
) -> Rows:
    """The statistic of colluders who see several steps of all sites; the patient, of the last, is in each step's sum.

    Contexts beyond the first are rounds in which the patient is not sampled.
    """
    sites = cohort(colluding=law.colluding, factor=law.factor)
    there = dict(list(sites.items())[absent:])
    view = View([], [], [])
    victim = list(there)[-1]
    for number, context in enumerate(contexts):
        opened = rounds(there, context=context)
        for step in range(steps):
            shares = shared_in_every_step or step == steps - 1
            for name, noise in opened.items():
                parts = noise.next_step()
                parts = NoiseParts(num_own=parts.num_own if replaced else 1, shared=parts.shared if shares else ())
                has_patient = patient and name == victim and number == 0
                message = add_grid_noise(
                    torch.full((TRIALS,), 1.0 if has_patient else 0.0),
                    standard_deviation=own,
                    stream=Keystream.fresh(),
                    parts=parts,
                )
                made_of: dict[object, float] = {("x", name, number, step): own * math.sqrt(parts.num_own)}
                for peer in there:
                    if peer != name and shares:
                        sign = 1 if name < peer else -1
                        # The same draw as long as the context is the same.
                        made_of["w", frozenset((name, peer)), context, step] = sign * own * law.factor
                view.note(message.numpy().astype(np.float64), made_of, patient=float(name == victim and number == 0))
            known = set(list(there)[:colluders])
            for pair in itertools.combinations(there, 2) if shares else ():
                if victim not in pair or known & set(pair):
                    note_draw(view, there, pair, context, step, own * law.factor)
    return view.statistic()


def note_draw(
    view: View, there: Mapping[str, Pairing], pair: tuple[str, str], context: str, step: int, size: float
) -> None:
    """What two sites share, drawn from the key of one of them."""
    again = there[pair[0]].open_round(statements({name: there[name] for name in pair}), context=context)
    for _ in range(step):
        again.next_step()
    (part,) = again.next_step().shared
    drawn = np.concatenate([discrete_gaussian(n, part.stream) for n in chunks(TRIALS)]) / DEVIATION
    view.note(size * drawn, {("w", frozenset(pair), context, step): size})


def chunks(count: int, size: int = 1 << 15) -> list[int]:
    return [min(size, count - start) for start in range(0, count, size)]


def divergence(with_patient: Rows, without: Rows) -> float:
    """The largest P(with > c) - e^epsilon P(without > c) over all c: the delta at this epsilon."""
    grid = np.linspace(-4, 12, 400)
    tails = [1 - np.searchsorted(np.sort(one), grid) / len(one) for one in (with_patient, without)]
    return float((tails[0] - math.exp(EPSILON) * tails[1]).max())


def delta_of(multiplier: float, steps: int) -> float:
    """Of so many releases of a Gaussian mechanism at this epsilon (Balle and Wang, ICML 2018, theorem 8)."""
    mean = math.sqrt(steps) / multiplier
    return float(norm.cdf(mean / 2 - EPSILON / mean) - math.exp(EPSILON) * norm.cdf(-mean / 2 - EPSILON / mean))


GUARANTEED, STEPS = 1.2, 2


def delta_seen(*, colluders: int = 1, colluding: int = 1, **options: object) -> float:
    law = PairLaw(peers=len(NAMES) - 1, colluding=colluding, factor=1)
    own = law.own(GUARANTEED)
    worlds = [play(law, own, patient=patient, colluders=colluders, **options) for patient in (True, False)]  # type: ignore[arg-type]
    return divergence(*worlds)


def test_colluders_learn_what_is_stated_and_no_less() -> None:
    """The game finds the stated delta: so it would find more."""
    assert delta_seen() == pytest.approx(delta_of(GUARANTEED, STEPS), abs=TOLERANCE)


def test_absent_peers_tell_no_more() -> None:
    assert delta_seen(absent=2) <= delta_of(GUARANTEED, STEPS) + TOLERANCE


BROKEN: dict[str, dict[str, object]] = {
    "one colluder more than stated": {"colluders": 2},
    "pair noise only in the last step": {"shared_in_every_step": False},
    "absent peers not replaced": {"absent": 3, "replaced": False},
    "one context in many rounds": {"contexts": [CONTEXT] * 4},
}


@pytest.mark.parametrize("options", BROKEN.values(), ids=BROKEN.keys())
def test_broken_variants_tell_more(options: dict[str, object]) -> None:
    assert delta_seen(**options) > delta_of(GUARANTEED, STEPS) + TOLERANCE  # type: ignore[arg-type]


def test_fresh_contexts_tell_no_more() -> None:
    """The control of the last one: as many rounds, each with a context of its own."""
    contexts = [f"{number:064x}" for number in range(4)]
    assert delta_seen(contexts=contexts) <= delta_of(GUARANTEED, STEPS) + TOLERANCE
