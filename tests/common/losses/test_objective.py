"""The objective: its terms by hand, and what its gradients reach."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.config.schema import CodeConfig, LossConfig, TermWeights
from common.encoders.dual import DualEncoder, Embedded
from common.encoders.interface import Tower
from common.errors import ConfigError
from common.hashing.head import HashHead
from common.losses.centres import centre_distance
from common.losses.composition import JOIN
from common.losses.interface import TERMS, Coupling
from common.losses.objective import WeightedTerm, build_objective, refuse_coupled
from common.losses.public import Public, embed_public
from common.losses.quantisation import roughness

CODE = CodeConfig(bit_width=48, weight=2.0, num_centres=3)
WEIGHTS = TermWeights(
    quantisation=0.3, centres=0.7, distillation=0.2, margin=0.4, balance=0.5, decorrelation=0.6, score_level=0.8
)
WEIGHTS.invariance, WEIGHTS.unpaired = 0.9, 1.1
LOSS = LossConfig(
    name="anchor_contrast+quantisation+centres", temperature=0.2, num_anchors=5, agreement_weight=0.5, weights=WEIGHTS
)
EVERY = replace(LOSS, name="+".join(["anchor_contrast", *TERMS.names]))


class Linear(Tower):
    """A linear map."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6, generator=generator))

    def forward(self, features: Tensor) -> Tensor:
        """See `Tower`."""
        return features @ self.weight


def model() -> DualEncoder:
    generator = torch.Generator().manual_seed(0)
    head = HashHead(embedding_dim=6, bit_width=48, num_centres=3, generator=generator)
    head.set_prototypes(normalize(torch.randn(20, 6, generator=generator), dim=-1), generator=generator)
    return DualEncoder(Linear(generator), Linear(generator), head)


def features(number: int, seed: int) -> Tensor:
    return torch.randn(number, 6, generator=torch.Generator().manual_seed(seed))


def case() -> tuple[DualEncoder, Embedded, Embedded, Public]:
    encoder = model()
    image, report = encoder(features(4, 1), features(4, 2))
    return encoder, image, report, embed_public(encoder, features(5, 3), features(5, 4))


def test_quantisation_and_centre_distance_by_hand() -> None:
    code = torch.tensor([[1.0, -1.0], [0.0, 0.5]])
    torch.testing.assert_close(roughness(code), torch.tensor([0.0, (1 + 0.25) / 2]))
    centre = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    torch.testing.assert_close(centre_distance(code, centre), torch.tensor([0.0, (1 - 0.25) / 2]))
    torch.testing.assert_close(centre_distance(-centre, centre), torch.ones(2))


def test_objective_is_the_documented_sum() -> None:
    with torch.no_grad():
        _, image, report, public = case()
    objective = build_objective(LOSS, CODE)
    found = objective(image, report, public)
    contrast = objective.contrast
    by_embedding = contrast(image.embedding, report.embedding, public.image.embedding, public.report.embedding)
    unit = [normalize(part.code, dim=-1) for part in (image, report, public.image, public.report)]
    by_code = contrast(*unit)
    for row in range(4):
        similarities = [float(report.embedding[row] @ prototype) for prototype in public.prototypes]
        centre = public.centres[similarities.index(max(similarities))]
        rough = sum(float(((1 - part.code[row].abs()) ** 2).mean()) for part in (image, report)) / 2
        agree = sum(float((part.code[row] * centre).sum()) / 48 for part in (image, report)) / 2
        expected = by_embedding[row] + 2 * by_code[row] + 0.3 * rough + 0.7 * (1 - agree) / 2
        assert math.isclose(float(found[row]), float(expected), rel_tol=1e-5)


def with_view(encoder: DualEncoder, image: Embedded) -> Embedded:
    return image._replace(view=encoder.embed_views(features(4, 5)))


def test_prefix_asks_of_the_first_bits_what_is_asked_of_a_code_of_so_many() -> None:
    """A step of a nested code is a step of a head that has the first rows alone, and moves no other row."""
    encoder, image, report, public = case()
    objective = build_objective(EVERY, CODE)
    value_B = objective(with_view(encoder, image), report, public.prefix(16))
    short = HashHead(embedding_dim=6, bit_width=16, num_centres=3, generator=torch.Generator())
    short.load_state_dict(
        {
            "weight": encoder.hash_head.weight[:16],
            "prototypes": encoder.hash_head.prototypes,
            "centres": encoder.hash_head.centres[:, :16],
        }
    )
    alone = DualEncoder(encoder.image_tower, encoder.report_tower, short)
    image, report = alone(features(4, 1), features(4, 2))
    of_alone = embed_public(alone, features(5, 3), features(5, 4))
    expected_B = objective(with_view(alone, image), report, of_alone)
    torch.testing.assert_close(value_B, expected_B)
    (slope_KD,) = torch.autograd.grad(value_B.sum(), [encoder.hash_head.weight])
    assert slope_KD[:16].any(dim=1).all()
    assert not slope_KD[16:].any()


def test_code_terms_do_not_reach_the_towers() -> None:
    encoder, image, report, public = case()
    of_codes = JOIN.join(["anchor_contrast", *(name for name in TERMS.names if TERMS.load(name).of_codes)])
    objective = build_objective(replace(EVERY, name=of_codes), CODE)
    towers = [encoder.image_tower.weight, encoder.report_tower.weight]
    whole = torch.autograd.grad(objective(image, report, public).sum(), towers, retain_graph=True)
    alone = replace(LOSS, name="anchor_contrast")
    embedding_only = build_objective(alone, replace(CODE, weight=0.0))(image, report, public).sum()
    expected = torch.autograd.grad(embedding_only, towers)
    for found, alone in zip(whole, expected, strict=True):
        torch.testing.assert_close(found, alone)


def test_code_terms_reach_the_hash_head_and_the_contrast_does_not() -> None:
    encoder, image, report, public = case()
    head = [encoder.hash_head.weight]
    value = build_objective(LOSS, CODE)(image, report, public).sum()
    assert torch.autograd.grad(value, head, retain_graph=True)[0].any()
    alone = replace(LOSS, name="anchor_contrast")
    no_codes = build_objective(alone, replace(CODE, weight=0.0))(image, report, public).sum()
    assert not torch.autograd.grad(no_codes, head)[0].any()


def test_public_carries_no_gradient() -> None:
    *_, public = case()
    assert not any(part.requires_grad for half in (public.image, public.report) for part in half[:2])


@pytest.mark.parametrize(
    ("name", "coupling"),
    [("anchor_contrast", Coupling.NONE), ("pair_clip", Coupling.PAIRS), ("in_batch", Coupling.BATCH)],
)
def test_objective_couples_records_as_its_loss_does(name: str, coupling: Coupling) -> None:
    assert build_objective(replace(LOSS, name=name), CODE).coupling is coupling


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [(Coupling.NONE, {"pair_clip", "in_batch"}), (Coupling.PAIRS, {"in_batch"})],
)
def test_refuse_coupled_refuses_what_an_engine_cannot_clip(allowed: Coupling, refused: set[str]) -> None:
    for name in ("anchor_contrast", "pair_clip", "in_batch"):
        objective = build_objective(replace(LOSS, name=name), CODE)
        if name in refused:
            with pytest.raises(ConfigError, match=r"loss\.name"):
                refuse_coupled(objective, allowed=allowed)
        else:
            refuse_coupled(objective, allowed=allowed)


def only(half: Embedded, rows: slice) -> Embedded:
    """Some of the studies."""
    view = None if half.view is None else only(half.view, rows)
    present = None if half.present is None else half.present[rows]
    return Embedded(half.embedding[rows], half.code[rows], present=present, view=view)


def test_objective_of_a_record_does_not_read_another() -> None:
    encoder, image, report, public = case()
    present = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    image = image._replace(present=present[:, 0], view=encoder.embed_views(features(4, 5)))
    report = report._replace(present=present[:, 1])
    objective = build_objective(EVERY, CODE)
    whole = objective(image, report, public)
    for row in range(4):
        alone = objective(*(only(half, slice(row, row + 1)) for half in (image, report)), public)
        torch.testing.assert_close(alone[0], whole[row])


def test_a_term_that_couples_records_makes_the_objective_couple_them() -> None:
    class Coupled:
        coupling, reads_anchors = Coupling.BATCH, False

    objective = replace(build_objective(LOSS, CODE), terms=(WeightedTerm(Coupled(), 1.0),))  # type: ignore[arg-type]
    assert objective.coupling is Coupling.BATCH


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("anchor_contrast+margn", "loss.name=margn: unknown; did you mean margin?"),
        ("margin+anchor_contrast", "loss.name=margin: unknown; known: anchor_contrast, in_batch, pair_clip"),
        ("anchor_contrast+margin+margin", "loss.name=anchor_contrast+margin+margin: names a term twice; remove one"),
    ],
)
def test_composition_that_cannot_be_is_a_config_error(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build_objective(replace(LOSS, name=name), CODE)
    assert str(refusal.value) == said


def test_unknown_loss_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"^loss\.name=anchor: unknown; did you mean anchor_contrast\?$"):
        build_objective(replace(LOSS, name="anchor"), CODE)


@pytest.mark.parametrize("contrast", ["pair_clip", "in_batch"])
def test_unpaired_studies_beside_a_contrast_without_anchors_are_refused(contrast: str) -> None:
    """What stands for an absent half would be a negative of the others."""
    with pytest.raises(ConfigError, match=rf"^loss\.name={contrast}\+unpaired: .*anchors, which {contrast} does not"):
        build_objective(replace(LOSS, name=f"{contrast}+unpaired"), CODE)


@pytest.mark.parametrize("lacking", ["report", "image"])
def test_objective_of_a_lone_half_does_not_read_what_stands_for_the_other(lacking: str) -> None:
    """Contrast, every term and the adversary: another blank moves neither a value nor a gradient."""
    encoder, *_, public = case()
    objective, groups = build_objective(EVERY, CODE), torch.tensor([0, 1, 1, 0])
    there, absent = torch.ones(4).bool(), torch.zeros(4).bool()
    found = []
    for blank in (6, 7):
        images, reports = (
            (features(4, 1), features(4, blank)) if lacking == "report" else (features(4, blank), features(4, 2))
        )
        image, report = encoder(images, reports)
        logits = [half.embedding[:, :2] for half in (image, report)]
        image = image._replace(group=logits[0], present=there if lacking == "report" else absent)
        image = image._replace(view=encoder.embed_views(images.flip(1)))
        report = report._replace(group=logits[1], present=absent if lacking == "report" else there)
        value_B = objective(image, report, public, groups)
        weights = [encoder.image_tower.weight, encoder.report_tower.weight]
        found.append((value_B, *torch.autograd.grad(value_B.sum(), weights)))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)
    assert bool((found[0][0] > 0).all())
