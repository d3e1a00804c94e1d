"""Which words of a report an encoder reads: all, or those that public reports have, too.

An encoder that learns its words from the public reports alone has never fitted a word that none of them has: the word's
random vector is in the mean of the report all the same, and pushes it to where no image is. Hospitals whose reports
have words of their own, or groups about whom other words are written, are then found less often. Such words can be left
out: the public reports say which, so that it reads no other patient and costs no budget. What they would have meant is
lost, and what a report leaves out for them does not come back.
"""

from __future__ import annotations

from common.config.schema import EncoderConfig
from common.errors import ConfigError

ALL_WORDS, PUBLIC_WORDS = "all", "public"
"""What `encoder.words` may be."""


def refuse_public_words(config: EncoderConfig) -> None:
    """Return where an encoder that knows its words is told to read all of them.

    Raises:
        ConfigError: It is not.
    """
    if config.words == PUBLIC_WORDS:
        raise ConfigError(
            f"encoder.words={config.words}: encoder.name={config.name} has learnt its words elsewhere; "
            "set encoder.words=all, or take encoder.name=scratch"
        )
