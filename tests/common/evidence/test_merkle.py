"""Merkle trees: the published vectors of Certificate Transparency, and RFC 9162's own recursive definitions."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import TrustError
from common.evidence.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

CT_ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Roots of the first 0 to 8 entries, as Certificate Transparency's own tests have them."""

CT_INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}

SIZES = range(1, 34)

entries = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def naive_root(listed: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if len(listed) == 0:
        return hashlib.sha256(b"").digest()
    if len(listed) == 1:
        return hashlib.sha256(b"\x00" + listed[0]).digest()
    split = 1
    while split * 2 < len(listed):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(listed[:split]) + naive_root(listed[split:])).digest()


def leaves_of(listed: list[bytes]) -> list[bytes]:
    return [leaf_hash(entry) for entry in listed]


def numbered(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_root_is_the_published_one(size: int) -> None:
    assert Tree(leaves_of(CT_ENTRIES[:size])).root.hex() == CT_ROOTS[size]


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_inclusion_proof_is_the_published_one(index: int, size: int) -> None:
    proof = Tree(leaves_of(CT_ENTRIES[:size])).inclusion_proof(index)
    assert [found.hex() for found in proof] == CT_INCLUSION[index, size]
    verify_inclusion(leaf_hash(CT_ENTRIES[index]), index, size=size, proof=proof, root=bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("first", "second"), CT_CONSISTENCY)
def test_consistency_proof_is_the_published_one(first: int, second: int) -> None:
    proof = Tree(leaves_of(CT_ENTRIES[:second])).consistency_proof(first)
    assert [found.hex() for found in proof] == CT_CONSISTENCY[first, second]
    roots = {"first_root": bytes.fromhex(CT_ROOTS[first]), "second_root": bytes.fromhex(CT_ROOTS[second])}
    verify_consistency(first=first, second=second, proof=proof, **roots)


def test_empty_list_and_single_leaf() -> None:
    assert Tree([]).root == Frontier().root == EMPTY_ROOT == hashlib.sha256().digest()
    only = leaf_hash(b"only")
    assert Tree([only]).root == only == hashlib.sha256(b"\x00only").digest()
    assert Tree([only]).inclusion_proof(0) == ()
    verify_inclusion(only, 0, size=1, proof=(), root=only)
    with pytest.raises(TrustError):
        verify_inclusion(only, 0, size=0, proof=(), root=EMPTY_ROOT)
    with pytest.raises(ValueError, match="no leaf 0 among 0"):
        Tree([]).inclusion_proof(0)


@given(entries)
def test_root_is_the_recursive_definition(listed: list[bytes]) -> None:
    assert Tree(leaves_of(listed)).root == naive_root(listed)


@given(entries, st.data())
def test_grown_frontier_has_the_root_of_each_prefix(listed: list[bytes], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(listed)))
    frontier = Frontier()
    for entry in listed[:size]:
        frontier = frontier.grown(leaf_hash(entry))
    assert (frontier.root, frontier.size) == (naive_root(listed[:size]), size)
    assert len(frontier.peaks) == size.bit_count()


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_proven_and_no_other_place(size: int) -> None:
    leaves, root = leaves_of(numbered(size)), naive_root(numbered(size))
    for index, leaf in enumerate(leaves):
        proof = Tree(leaves).inclusion_proof(index)
        verify_inclusion(leaf, index, size=size, proof=proof, root=root)
        for wrong in range(-1, size + 1):
            if wrong != index:
                with pytest.raises(TrustError):
                    verify_inclusion(leaf, wrong, size=size, proof=proof, root=root)


@pytest.mark.parametrize("second", SIZES)
def test_every_prefix_is_proven_and_no_other_list(second: int) -> None:
    listed = numbered(second)
    leaves, root = leaves_of(listed), naive_root(listed)
    for first in range(second + 1):
        proof = Tree(leaves).consistency_proof(first)
        sizes, shorter = {"first": first, "second": second, "proof": proof}, naive_root(listed[:first])
        verify_consistency(first_root=shorter, second_root=root, **sizes)
        for changed in range(first):
            other = [*listed[:changed], b"rewritten", *listed[changed + 1 : first]]
            with pytest.raises(TrustError):
                verify_consistency(first_root=naive_root(other), second_root=root, **sizes)


@pytest.mark.parametrize("second", SIZES)
def test_rewritten_list_has_no_proof_from_the_old_one(second: int) -> None:
    listed = numbered(second)
    for first in range(1, second + 1):
        for changed in range(first):
            forged = [*listed[:changed], b"rewritten", *listed[changed + 1 :]]
            with pytest.raises(TrustError):
                verify_consistency(
                    first=first,
                    first_root=naive_root(listed[:first]),
                    second=second,
                    second_root=naive_root(forged),
                    proof=Tree(leaves_of(forged)).consistency_proof(first),
                )


def flips(proof: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """The proof with each of its bits turned."""
    return [
        (*proof[:row], bytes(b ^ (1 << bit) * (at == place) for at, b in enumerate(proof[row])), *proof[row + 1 :])
        for row in range(len(proof))
        for place in range(32)
        for bit in range(8)
    ]


def misfits(proof: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """The proof with hashes missing, doubled, swapped, cut, joined or too many."""
    wrong = [(*proof, EMPTY_ROOT), (EMPTY_ROOT, *proof), (*proof, *proof), proof[::-1]]
    wrong += [(*proof[:row], *proof[row + 1 :]) for row in range(len(proof))]
    wrong += [(*proof[:row], proof[row][:-1], *proof[row + 1 :]) for row in range(len(proof))]
    wrong += [(*proof[:row], proof[row] + b"\0", *proof[row + 1 :]) for row in range(len(proof))]
    wrong += [(proof[0] + proof[1], *proof[2:])] if len(proof) > 1 else []
    return [other for other in wrong if other != proof]


@pytest.mark.parametrize(("index", "size"), [(0, 8), (2, 3), (10, 11), (4, 13)])
def test_changed_inclusion_proof_is_refused(index: int, size: int) -> None:
    leaves, root = leaves_of(numbered(size)), naive_root(numbered(size))
    proof = Tree(leaves).inclusion_proof(index)
    for wrong in [*flips(proof), *misfits(proof)]:
        with pytest.raises(TrustError):
            verify_inclusion(leaves[index], index, size=size, proof=wrong, root=root)


@pytest.mark.parametrize(("first", "second"), [(4, 8), (6, 7), (3, 13), (8, 9), (1, 2), (5, 5), (0, 3)])
def test_changed_consistency_proof_is_refused(first: int, second: int) -> None:
    listed = numbered(second)
    proof = Tree(leaves_of(listed)).consistency_proof(first)
    roots = {"first_root": naive_root(listed[:first]), "second_root": naive_root(listed)}
    for wrong in [*flips(proof), *misfits(proof)]:
        with pytest.raises(TrustError):
            verify_consistency(first=first, second=second, proof=wrong, **roots)


def test_consistency_needs_sizes_that_grow_and_roots_that_fit() -> None:
    root = naive_root(numbered(3))
    for first, second, first_root, second_root in (
        (4, 3, root, root),
        (-1, 3, EMPTY_ROOT, root),
        (0, 3, root, root),
        (3, 3, root, EMPTY_ROOT),
        (3, 4, root, naive_root(numbered(4))),
    ):
        with pytest.raises(TrustError):
            verify_consistency(first=first, first_root=first_root, second=second, second_root=second_root, proof=())
    with pytest.raises(ValueError, match="no 4 leaves among 3"):
        Tree(leaves_of(numbered(3))).consistency_proof(4)


def test_inner_node_does_not_pass_as_an_entry() -> None:
    left, right = leaves_of(numbered(2))
    root = node_hash(left, right)
    for forged in (leaf_hash(left + right), leaf_hash(b"\x01" + left + right)):
        with pytest.raises(TrustError):
            verify_inclusion(forged, 0, size=1, proof=(), root=root)


def test_proof_of_another_length_than_its_sizes_ask_for_is_refused() -> None:
    """A proof does not say its sizes (the signed head does), but they say how long it is."""
    pairs = [(first, second) for second in range(2, 17) for first in range(1, second)]
    proofs = {pair: Tree(leaves_of(numbered(pair[1]))).consistency_proof(pair[0]) for pair in pairs}
    for (first, second), proof in proofs.items():
        roots = {"first_root": naive_root(numbered(first)), "second_root": naive_root(numbered(second))}
        for other_first, other_second in (pair for pair in pairs if len(proofs[pair]) != len(proof)):
            with pytest.raises(TrustError):
                verify_consistency(first=other_first, second=other_second, proof=proof, **roots)


def test_proof_of_hashes_of_another_length_is_refused() -> None:
    """Cut elsewhere, the same bytes are hashed to the same root."""
    left, right = leaves_of(numbered(2))
    with pytest.raises(TrustError, match="something else than a hash"):
        verify_inclusion(left + right[:1], 0, size=2, proof=(right[1:],), root=node_hash(left, right))
