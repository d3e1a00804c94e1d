"""What is denied, doubted, past or said of somebody else: sentences with what a reader hears in them."""

import pytest

from common.terminology import scope
from common.terminology.scope import Category, cues
from common.terminology.words import tokens

NEGATED, UNCERTAIN, PAST, OTHER = Category.NEGATED, Category.UNCERTAIN, Category.PAST, Category.OTHER_PERSON

HEARD = [
    ("no effusion", "effusion", {NEGATED}),
    ("mass without effusion", "mass", set()),
    ("mass without effusion", "effusion", {NEGATED}),
    ("no effusion, mass", "mass", set()),
    ("no effusion, abscess or mass", "abscess", {NEGATED}),
    ("no effusion, abscess or mass", "mass", {NEGATED}),
    ("no effusion or abscess, large mass", "mass", set()),
    ("no effusion but mass", "mass", set()),
    ("no effusion. mass", "mass", set()),
    ("neither effusion nor mass", "mass", {NEGATED}),
    ("no evidence of effusion", "effusion", {NEGATED}),
    ("effusion was ruled out", "effusion", {NEGATED}),
    ("mass, effusion not seen", "mass", set()),
    ("mass, effusion not seen", "effusion", {NEGATED}),
    ("not only mass but also effusion", "mass", set()),
    ("no change in effusion", "effusion", set()),
    ("w/o effusion", "effusion", {NEGATED}),
    ("fever rather than mass", "mass", {NEGATED}),
    ("fever rather than mass", "fever", set()),
    ("cases other than abscess", "abscess", {NEGATED}),
    ("non-enhancing mass", "mass", set()),
    ("non-enhancing mass", "enhancing", {NEGATED}),
    ("no effusion \u2022 mass", "mass", set()),
    ("CT was negative for a large mass", "mass", {NEGATED}),
    ("possible effusion", "effusion", {UNCERTAIN}),
    ("r/o effusion", "effusion", {UNCERTAIN}),
    ("cannot exclude effusion", "effusion", {UNCERTAIN}),
    ("effusion is suspected", "effusion", {UNCERTAIN}),
    ("?effusion", "effusion", {UNCERTAIN}),
    ("mass vs abscess", "mass", set()),
    ("mass vs abscess", "abscess", {UNCERTAIN}),
    ("no possible effusion", "effusion", {NEGATED, UNCERTAIN}),
    ("status post nephrectomy", "nephrectomy", {PAST}),
    ("s/p nephrectomy, mass", "mass", set()),
    ("history of abscess", "abscess", {PAST}),
    ("no history of abscess", "abscess", {NEGATED}),
    ("mass after nephrectomy", "mass", set()),
    ("mass after nephrectomy", "nephrectomy", {PAST}),
    ("possible mass s/p nephrectomy", "nephrectomy", {PAST}),
    ("mass after contrast", "mass", set()),
    ("family history of abscess", "abscess", {OTHER}),
    ("mother had abscess", "abscess", set()),
]


def heard(text: str, about: str) -> set[Category]:
    """Categories of the cues that a word stands in the scope of."""
    words = tokens(text)
    nouns = {"effusion", "mass", "abscess", "nephrectomy", "fever"}
    runs = [(number, number + 1) for number, token in enumerate(words) if token.text in nouns]
    (at,) = [number for number, token in enumerate(words) if token.text == about]
    return {cue.category for cue in cues(words, taken=runs) if cue.is_about(at, at + 1)}


@pytest.mark.parametrize(("text", "about", "what"), HEARD)
def test_scope_hears_what_a_reader_does(text: str, about: str, what: set[Category]) -> None:
    assert heard(text, about) == what


def mistakes() -> int:
    return sum(heard(text, about) != what for text, about, what in HEARD)


@pytest.mark.parametrize("broken", ["commas", "pseudo", "ends"])
def test_sentences_catch_a_scope_without_its_rules(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes() == 0
    table, most = scope._table()
    lost = {"pseudo": Category.NONE, "ends": Category.END}.get(broken)
    kept = {term: left for term, kinds in table.items() if (left := [kind for kind in kinds if kind[0] is not lost])}
    monkeypatch.setattr(scope, "_table", lambda: (kept, most))
    if broken == "commas":
        monkeypatch.setattr(scope, "_is_list", lambda *_: True)
    assert mistakes() > 0


def test_term_inside_a_name_is_no_term() -> None:
    words = tokens("post op change without mass")
    assert {cue.category for cue in cues(words, taken=[(0, 2)])} == {NEGATED}
