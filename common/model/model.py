"""A loaded model: pictures and texts in, embeddings and packed codes out.

Shapes: N items, D embedding, K bits, P bytes (P = K / 8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.encoders.dual import DualEncoder, Embedded
from common.encoders.interface import Encoder
from common.encoders.public_fit import FrozenPart
from common.hashing.codes import Codes, binarise
from common.model.form import ModelForm
from common.pictures import decode_picture, grey_of
from common.types import Image

Item = TypeVar("Item")

AT_ONCE = 32
"""Items that are encoded at a time, so that memory stays bounded."""


class Encoded(NamedTuple):
    """Some items, encoded.

    Attributes:
        embeddings: `[N, D]`, of unit length.
        relaxed: `[N, K]` in (-1, 1): what the codes are the signs of.
        codes: `[N, P]`, packed as `common/hashing/codes.py` says.
    """

    embeddings: NDArray[np.float32]
    relaxed: NDArray[np.float32]
    codes: Codes


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model as `load_model` gives it. Not made by hand.

    The code of an item does not depend on the items beside it, but where a bit's output lies within rounding of zero.

    Attributes:
        form: Everything that makes codes.
        encoder: Pictures and texts to frozen features.
        frozen: Those to what the trained part sees.
        dual: The trained part.
    """

    form: ModelForm
    encoder: Encoder
    frozen: FrozenPart
    dual: DualEncoder

    @property
    def digest(self) -> str:
        """Of everything that makes codes, in hexadecimal."""
        return self.form.digest

    @property
    def bit_width(self) -> int:
        """K."""
        return self.form.bit_width

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.form.encoder.embedding_dim

    def encode_images(self, images: Sequence[Path | PIL.Image.Image]) -> Codes:
        """Codes `[N, P]` of picture files, or of pictures.

        A DICOM instance is no picture file: `wardround encode` reads it with its window, and here its grey image is
        given as a picture.

        Raises:
            UnusableRow: One cannot be decoded, or is too large; a file is named.
        """
        return self.images(images).codes

    def encode_texts(self, texts: Sequence[str]) -> Codes:
        """Codes `[N, P]` of texts."""
        return self.texts(texts).codes

    def embed_images(self, images: Sequence[Path | PIL.Image.Image]) -> NDArray[np.float32]:
        """Embeddings `[N, D]` of picture files, or of pictures.

        Raises:
            UnusableRow: As `encode_images`.
        """
        return self.images(images).embeddings

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings `[N, D]` of texts."""
        return self.texts(texts).embeddings

    def images(self, images: Sequence[Path | PIL.Image.Image]) -> Encoded:
        """Everything of picture files, or of pictures.

        Raises:
            UnusableRow: As `encode_images`.
        """
        return self._all(images, lambda some: self.encoder.image_features([self.grey(one) for one in some]), self._seen)

    def texts(self, texts: Sequence[str]) -> Encoded:
        """Everything of texts."""
        return self._all(texts, self.encoder.report_features, self._read)

    def of_image_features(self, features: Tensor) -> Encoded:
        """Everything of `[N, ...]` as `encoder.image_features` gives them."""
        return self._all(features, lambda some: some, self._seen)

    def of_text_features(self, features: Tensor) -> Encoded:
        """Everything of `[N, ...]` as `encoder.report_features` gives them."""
        return self._all(features, lambda some: some, self._read)

    def grey(self, image: Path | PIL.Image.Image) -> Image:
        """The grey image of a picture file, or of a picture, as in training.

        Raises:
            UnusableRow: As `encode_images`.
        """
        bits = self.form.pixel_bits
        return decode_picture(image, bits=bits) if isinstance(image, Path) else grey_of(image, bits=bits)

    def _seen(self, features: Tensor) -> Embedded:
        return self.dual.embed_images(self.frozen.image(features))

    def _read(self, features: Tensor) -> Embedded:
        return self.dual.embed_reports(self.frozen.report(features))

    def _all(
        self,
        items: Sequence[Item] | Tensor,
        features: Callable[[Sequence[Item]], Tensor] | Callable[[Tensor], Tensor],
        embed: Callable[[Tensor], Embedded],
    ) -> Encoded:
        dim, bits = self.embedding_dim, self.bit_width
        parts = [(torch.zeros(0, dim), torch.zeros(0, bits))]
        with torch.no_grad():
            for start in range(0, len(items), AT_ONCE):
                found = embed(features(items[start : start + AT_ONCE]))  # type: ignore[arg-type]
                parts.append((found.embedding, found.code))
        embeddings, relaxed = (torch.cat(part) for part in zip(*parts, strict=True))
        return Encoded(embeddings.numpy(), relaxed.numpy(), binarise(relaxed))
