"""`wardround bench search`: exact search over codes, and a hospital's index opened, added to and withdrawn from.

1. A query of ours (k = 10, all ties at the tenth distance) beside `IndexBinaryFlat` of faiss (k = 10) in turns, on one
   core, over random codes, in seconds of the processor: other work on the machine does not count. The bound is to read
   the codes once at the speed at which this core reads them in this run.
2. The same with a mask that lets half of the codes pass, and beside `IndexBinaryIVF` (32 of 1,024 lists) over codes
   that lie in clusters, as those of a model do: what an approximate index would save, and what it would miss.
3. An index of half as many studies as codes, an image and a report each: written, opened and checked in a process of
   its own, a thousand studies added, one withdrawn. Peak memory is above what the process held before.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from client.search.generation import alone, read_head, read_studies
from client.search.index import SearchIndex
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.traits import TRAITS
from common.hashing.codes import Codes
from common.retrieval.nearest import nearest
from simulations.benchmarks.data import in_a_fresh_process
from simulations.benchmarks.report import Row, extra_mib

SIZES = (1_000_000, 10_000_000)
BIT_WIDTHS = (64, 128, 256)
INDEX_BITS = 128
K = 10
_NUM_LISTS, _NUM_PROBES = 1024, 32
_SCANNED = 200_000_000
"""Codes scanned for one figure, in as many queries as that takes; six at least."""
_QUERIES_A_TURN = 10
_MODEL, _SITE = "0" * 64, "bench"


def bench_search() -> list[Row]:
    """Search at all sizes and widths, and the index at both sizes."""
    with one_core():
        rows = [scan_row(num, bits) for num in SIZES for bits in BIT_WIDTHS]
        rows += [mask_row(SIZES[0], INDEX_BITS), clusters_row(SIZES[0], INDEX_BITS)]
    for num in SIZES:
        rows += index_rows(num, INDEX_BITS)
    return rows


@contextmanager
def one_core() -> Iterator[None]:
    """Hold faiss to one thread."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def scan_row(num_codes: int, bit_width: int) -> Row:
    """One query over random codes, beside faiss and the time to read them."""
    codes, queries = random_codes(num_codes, bit_width), random_codes(_repeats(num_codes), bit_width, seed=1)
    flat = faiss.IndexBinaryFlat(bit_width)
    flat.add(codes)
    ours, theirs = in_turns(
        queries, lambda query: nearest(query, codes, k=K), lambda query: flat.search(query[None], K)
    )
    bound = min(taken_by(codes.max).core for _ in queries)
    name = f"query, {_shown(num_codes)} x {bit_width}"
    return Row(name=name, seconds=ours, peer="faiss", peer_seconds=theirs, bound_seconds=bound)


def mask_row(num_codes: int, bit_width: int) -> Row:
    """One query of which a mask lets half of the codes through, beside faiss with the same mask."""
    codes, queries = random_codes(num_codes, bit_width), random_codes(_repeats(num_codes), bit_width, seed=1)
    kept = np.random.default_rng(2).random(num_codes) < 0.5
    flat = faiss.IndexBinaryFlat(bit_width)
    flat.add(codes)
    chosen = faiss.SearchParameters()
    chosen.sel = faiss.IDSelectorBatch(np.flatnonzero(kept))
    ours, theirs = in_turns(
        queries,
        lambda query: nearest(query, codes, k=K, kept_N=kept),
        lambda query: flat.search(query[None], K, params=chosen),
    )
    return Row(name=f"masked, {_shown(num_codes)} x {bit_width}", seconds=ours, peer="faiss", peer_seconds=theirs)


def clusters_row(num_codes: int, bit_width: int) -> Row:
    """One query over codes in clusters, beside an approximate index, whose recall the row names."""
    codes = clustered_codes(num_codes, bit_width)
    queries = clustered_codes(_repeats(num_codes), bit_width, seed=1)
    lists = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(bit_width), bit_width, min(_NUM_LISTS, num_codes // 40))
    lists.train(codes[: 64 * _NUM_LISTS])
    lists.add(codes)
    lists.nprobe = _NUM_PROBES
    found = 0
    for query in queries:
        distances, _ = lists.search(query[None], K)
        # By distance: which of equal ones is found does not matter.
        found += int((distances[0] <= nearest(query, codes, k=K).distances_F[K - 1]).sum())
    ours, theirs = in_turns(
        queries, lambda query: nearest(query, codes, k=K), lambda query: lists.search(query[None], K)
    )
    peer = f"IVF, recall {found / (K * len(queries)):.3f}"
    return Row(name=f"clusters, {_shown(num_codes)} x {bit_width}", seconds=ours, peer=peer, peer_seconds=theirs)


class Taken(NamedTuple):
    """Seconds by the wall clock and of the processor over all threads; memory above what was held, where told."""

    wall: float
    core: float
    extra_mib: float | None = None


def index_rows(num_codes: int, bit_width: int) -> list[Row]:
    """A hospital's index, from its first write on; of each action the wall clock's time and the processor's."""
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as name:
        folder = Path(name) / "search"
        studies = random_studies(num_codes // 2, bit_width)
        taken = {"write": taken_by(partial(_write, folder, studies))}
        del studies
        taken["open"] = in_a_fresh_process(partial(measure_open, folder, bit_width))
        taken["add 1,000"] = taken_by(partial(_add, folder, random_studies(1000, bit_width, seed=1)))
        taken["withdraw one"] = taken_by(partial(_withdraw_one, folder))
    what, mib = f"index, {_shown(num_codes)} codes", num_codes * bit_width / 8 / 2**20
    rows = []
    for action, found in taken.items():
        told = f"{what} of {mib:.0f} MiB, {action}" if action == "open" else f"{what}, {action}"
        rows += [
            Row(name=told, seconds=found.wall, peak_mib=found.extra_mib),
            Row(name=f"{told}, processor", seconds=found.core),
        ]
    return rows


def measure_open(folder: Path, bit_width: int) -> Taken:
    """Open and check an index; its memory above what the process held before."""
    taken, held = list[Taken](), list[SearchIndex]()

    def action() -> None:
        held.append(SearchIndex.open(folder, key=None, model=_MODEL, bit_width=bit_width))

    extra = extra_mib(lambda: taken.append(taken_by(action)))
    if not taken:  # memory cannot be told here
        taken.append(taken_by(action))
    return taken[0]._replace(extra_mib=extra)


def taken_by(action: Callable[[], object]) -> Taken:
    """What an action takes."""
    wall, core = time.perf_counter(), time.process_time()
    action()
    return Taken(time.perf_counter() - wall, time.process_time() - core)


def in_turns(queries: Codes, ours: Callable[[Codes], object], theirs: Callable[[Codes], object]) -> tuple[float, float]:
    """Median processor seconds of a query of ours and of theirs, a few queries each in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for few in np.array_split(queries, max(1, len(queries) // _QUERIES_A_TURN)):
        for search, taken in zip((ours, theirs), seconds, strict=True):
            search(few[0])  # brings code and codes back into the caches
            taken += [taken_by(partial(search, query)).core for query in few]
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def random_codes(number: int, bit_width: int, *, seed: int = 0) -> Codes:
    """Uniform codes `[N, P]`."""
    return np.frombuffer(np.random.default_rng(seed).bytes(number * bit_width // 8), np.uint8).reshape(number, -1)


def clustered_codes(number: int, bit_width: int, *, seed: int = 0) -> Codes:
    """Codes around a thousand centres, the same for each seed; an eighth of the bits of each is another."""
    centres = random_codes(1000, bit_width, seed=7)
    generator = np.random.default_rng(seed)
    flips = centres[generator.integers(0, 1000, number)]
    noise = [np.frombuffer(generator.bytes(flips.size), np.uint8).reshape(flips.shape) for _ in range(3)]
    return flips ^ (noise[0] & noise[1] & noise[2])


def random_studies(number: int, bit_width: int, *, seed: int = 0) -> IndexedStudies:
    """Studies of one image each."""
    generator = np.random.default_rng(seed)
    handles, patients, contents = (
        np.frombuffer(generator.bytes(16 * number), np.uint8).reshape(number, 16) | np.uint8(1) for _ in range(3)
    )
    columns = {
        name: np.ascontiguousarray(found).view(HANDLE).ravel()
        for name, found in (("handles", handles), ("patients", patients), ("contents", contents))
    }
    studies = IndexedStudies(
        **columns,
        names=np.arange(number).astype("S8"),
        traits=np.zeros(number, TRAITS),
        reports=random_codes(number, bit_width, seed=seed),
        images=random_codes(number, bit_width, seed=seed + 1),
        image_studies=np.arange(number, dtype=IMAGE_STUDY),
    )
    return studies.in_order()


def _write(folder: Path, studies: IndexedStudies) -> None:
    with alone(folder, site=_SITE, key=None) as writer:
        bit_width = 8 * studies.images.shape[1]
        writer.write(studies, withdrawn=np.empty(0, HANDLE), model=_MODEL, bit_width=bit_width, source="")


def _add(folder: Path, others: IndexedStudies) -> None:
    studies, _ = read_studies(folder, read_head(folder, key=None))
    _write(folder, studies.with_others(others))


def _withdraw_one(folder: Path) -> None:
    studies, _ = read_studies(folder, read_head(folder, key=None))
    _write(folder, studies.without(studies.patients[:1]))


def _repeats(num_codes: int) -> int:
    return min(61, max(6, _SCANNED // num_codes))


def _shown(number: int) -> str:
    return f"{number // 10**6}M" if number >= 10**6 else f"{number:,}"
