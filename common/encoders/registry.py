"""Encoders by name (`encoder.name`)."""

from __future__ import annotations

from collections.abc import Callable

from common.config.registry import Registry
from common.config.schema import EncoderConfig
from common.encoders.interface import Encoder

ENCODERS: Registry[Callable[[EncoderConfig], Encoder]] = Registry(
    "encoder.name",
    {
        "scratch": "common.encoders.scratch:build",
        "pretrained": "common.encoders.pretrained:build",
        "hub": "common.encoders.hub:build",
    },
)
