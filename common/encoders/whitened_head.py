"""A linear tower that starts as whitened PCA of the public anchors' features.

Whitening brings the coordinates to one scale, so one clip norm fits all of them and the first step of private
training already moves in directions that matter. Mean and projection come from public data alone and stay
fixed; what is trained, and therefore noised, is one `D x D` matrix.

Shapes: B batch, N anchors, F features, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.encoders.interface import Tower
from common.errors import ConfigError

SHRINKAGE = 0.5
"""Weight of the mean variance of the kept directions in each one's own: 0 whitens fully, 1 only rotates.

A few hundred anchors estimate the weak directions badly, and full whitening would blow up their error."""


class WhitenedHead(Tower):
    """`(features - mean) @ projection`, then a trainable linear map that starts as the identity.

    Args:
        feature_dim: F.
        embedding_dim: D, at most F.

    Raises:
        ConfigError: The embedding is wider than the features.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__()
        if embedding_dim > feature_dim:
            raise ConfigError(
                f"encoder.embedding_dim={embedding_dim}: the frozen features have {feature_dim} dimensions;"
                f" set it to {feature_dim} or less"
            )
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("projection", torch.eye(feature_dim, embedding_dim))
        self.linear = nn.Linear(embedding_dim, embedding_dim, bias=False)
        nn.init.eye_(self.linear.weight)

    def fit_to_public(self, features: Tensor) -> None:
        """Set mean and projection from the anchors' features `[N, F]`; the same features give the same bits.

        Raises:
            ConfigError: Fewer than D + 1 anchors; their centred features cannot span D directions.
        """
        num_anchors, embedding_dim = len(features), self.projection.shape[1]
        if num_anchors <= embedding_dim:
            raise ConfigError(
                f"encoder.embedding_dim={embedding_dim}: needs more than {embedding_dim} public anchors,"
                f" there are {num_anchors}; lower encoder.embedding_dim, or add public studies (data.public_fraction"
                " where they are drawn from the others)"
            )
        mean, projection = _whitened_pca(features, embedding_dim)
        self.mean.copy_(mean)
        self.projection.copy_(projection)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Embeddings `[B, D]`."""
        embedding_BD: Tensor = self.linear((features_BF - self.mean) @ self.projection)
        return embedding_BD


def _whitened_pca(features_NF: Tensor, num_directions: int) -> tuple[Tensor, Tensor]:
    """Mean `[F]` and projection `[F, D]` of whitened PCA, in float64."""
    values = features_NF.detach().to(device="cpu", dtype=torch.float64)
    mean = values.mean(dim=0)
    centred = values - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / (len(values) - 1))
    variances, directions = variances.flip(0)[:num_directions], directions.flip(1)[:, :num_directions]
    return mean, _with_fixed_signs(directions) / _shrunk(variances).sqrt()


def _shrunk(variances: Tensor) -> Tensor:
    """Eigenvalues pulled towards their mean (Ledoit and Wolf 2004, with a fixed weight); never 0."""
    shrunk = (1 - SHRINKAGE) * variances.clamp(min=0) + SHRINKAGE * variances.mean()
    return shrunk.clamp(min=torch.finfo(torch.float32).tiny)


def _with_fixed_signs(directions: Tensor) -> Tensor:
    """An eigenvector's sign is arbitrary and differs between machines; here its largest entry is positive."""
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return directions * largest.sign()
