"""What somebody looks for: words, or a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import ConfigError
from common.hashing.codes import Codes


class Encodes(Protocol):
    """A model, as far as a query needs it."""

    def encode_texts(self, texts: Sequence[str]) -> Codes:
        """Codes of texts, `[N, P]`."""
        ...

    def encode_images(self, images: Sequence[Path]) -> Codes:
        """Codes of images, `[N, P]`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is looked for.

    Attributes:
        text: Words; None for an image.
        image: A picture; None for words.
    """

    text: str | None
    image: Path | None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.image is None):
            raise ConfigError("--text, --image: give one of them")

    def code_P(self, model: Encodes) -> Codes:
        """Its code, `[P]`."""
        codes: Codes = (
            model.encode_texts([self.text]) if self.text is not None else model.encode_images([self.image or Path()])
        )
        first: Codes = codes[0]
        return first
