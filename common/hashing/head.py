"""The hash head: from an embedding to a relaxed code, and the public centres that codes are drawn to.

The relaxation is tanh in training and the sign at inference (`common/hashing/codes.py`). Centres are rows of a
Hadamard matrix, as far from one another as codes can be (Yuan et al., Central Similarity Quantization, CVPR 2020);
which centre a record belongs to is told by public prototypes, so each record's term depends on that record alone.

Shapes: B batch, D embedding, K bits, M centres, N public records.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

INPUT_SCALE = 2.0
"""What each coordinate of an embedding is brought to before the head, as a root mean square.

The weights are smaller in return, so that at one learning rate for the whole model the head keeps up with towers that
move under it: twice the scale is four times the pace over its own size. See decision 0038.
"""


class HashHead(nn.Linear):
    """Linear map `[B, D] -> [B, K]` before the relaxation, with M public prototypes and their centres.

    It takes scaled embeddings (`head_outputs`).

    The start is a random tight frame (semi-orthogonal rows), whose signs keep angles: the expected Hamming distance
    of two codes is proportional to the angle between their embeddings (Goemans & Williamson, 1995).

    Args:
        embedding_dim: D.
        bit_width: K.
        num_centres: M, at most K.
        generator: Source of the random frame.
    """

    prototypes: Tensor
    centres: Tensor

    def __init__(self, *, embedding_dim: int, bit_width: int, num_centres: int, generator: torch.Generator) -> None:
        super().__init__(embedding_dim, bit_width, bias=False)
        frame = torch.randn(bit_width, embedding_dim, generator=generator)
        nn.init.orthogonal_(frame, generator=generator)
        scale = (max(bit_width, embedding_dim) / embedding_dim) ** 0.5
        with torch.no_grad():
            self.weight.copy_(frame * scale / INPUT_SCALE)
        self.register_buffer("prototypes", torch.zeros(num_centres, embedding_dim))
        self.register_buffer("centres", hadamard_centres(num_centres, bit_width))

    def set_prototypes(self, embedding: Tensor, *, generator: torch.Generator) -> None:
        """Set the prototypes to the means of M clusters of public embeddings `[N, D]`."""
        self.prototypes.copy_(spherical_clusters(embedding, self.prototypes.shape[0], generator=generator))


def input_scale(embedding_dim: int) -> float:
    """What a unit embedding is multiplied with before the head."""
    return INPUT_SCALE * float(embedding_dim**0.5)


def head_outputs(head: nn.Linear, embedding: Tensor) -> Tensor:
    """What the head makes of unit embeddings `[B, D]`: `[B, K]`, whose signs are the codes."""
    outputs: Tensor = head(embedding * input_scale(head.in_features))
    return outputs


def relaxed_codes(head: nn.Linear, embedding: Tensor) -> Tensor:
    """Relaxed codes `[B, K]` in (-1, 1) of unit embeddings `[B, D]`."""
    return torch.tanh(head_outputs(head, embedding))


def nearest_centres(embedding: Tensor, prototypes: Tensor, centres: Tensor) -> Tensor:
    """The centre `[B, K]` of each record's nearest prototype; no gradient flows through the choice.

    Args:
        embedding: `[B, D]`.
        prototypes: `[M, D]`.
        centres: `[M, K]`.
    """
    return centres[(embedding.detach() @ prototypes.T).argmax(dim=-1)]


def hadamard_centres(num_centres: int, bit_width: int) -> Tensor:
    """`[M, K]` of +1 and -1: rows of Sylvester's Hadamard matrix, cut to K columns when K is not a power of two.

    Whole rows are orthogonal, so that two centres differ in exactly K/2 bits. The first row, all ones, is left out:
    it carries no information and would unbalance the bits.
    """
    size = 1
    matrix = torch.ones(1, 1)
    step = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    while size < max(bit_width, num_centres + 1):
        matrix = torch.kron(step, matrix)
        size *= 2
    return matrix[1 : num_centres + 1, :bit_width].clone()


def spherical_clusters(
    embedding: Tensor, num_clusters: int, *, generator: torch.Generator, num_rounds: int = 25
) -> Tensor:
    """Unit means `[M, D]` of spherical k-means (Dhillon & Modha, 2001) over unit vectors `[N, D]`.

    An empty cluster keeps its last mean.
    """
    chosen = torch.randperm(len(embedding), generator=generator)[:num_clusters]
    means = embedding[chosen.repeat(-(-num_clusters // len(chosen)))[:num_clusters]].clone()
    for _ in range(num_rounds):
        nearest = (embedding @ means.T).argmax(dim=1)
        sums = torch.zeros_like(means).index_add_(0, nearest, embedding)
        held = sums.norm(dim=1) > 0
        means[held] = normalize(sums[held], dim=1)
    return means
