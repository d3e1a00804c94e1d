"""The form as it was sent, whatever stands in it, so that the page shows it again; a picture has to be chosen anew."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import FormData

from client.page.asked import KS, MOST_CHARACTERS

_FIELDS = {"text": "text", "gallery": "gallery", "k": "k", "from": "least", "to": "greatest", "sex": "sex"}
_FIELDS |= {"scanner": "scanner", "modality": "modality", "since": "since", "until": "until"}
"""Names in the form, and here."""


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What was typed and chosen; each as the form names it."""

    text: str = ""
    gallery: str = "images"
    k: str = str(KS[1])
    least: str = ""
    greatest: str = ""
    sex: str = ""
    scanner: str = ""
    modality: str = ""
    since: str = ""
    until: str = ""
    alone: bool = False

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Name and value of what a form sends to ask the same again, but for the words."""
        told = [(name, getattr(self, ours)) for name, ours in _FIELDS.items() if name != "text"]
        return (*((name, value) for name, value in told if value), *((("alone", "on"),) if self.alone else ()))

    @property
    def narrowed(self) -> bool:
        """Whether something narrows the own studies."""
        return any((self.least, self.greatest, self.sex, self.scanner, self.modality, self.since, self.until))


def typed_in(form: FormData) -> Typed:
    """What a form holds."""
    values = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    kept = {ours: values[name][:MOST_CHARACTERS] for name, ours in _FIELDS.items() if name in values}
    return Typed(**kept, alone="alone" in values)
