"""The adversary's head: it learns the group, what it reads unlearns it, and without it nothing is changed."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize

from common.config.load import load_config
from common.encoders.adversary import FORGETTING, Adversary
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.registry import ENCODERS

D, K, STRENGTH = 5, 8, 3.0


def adversary() -> Adversary:
    return Adversary(embedding_dim=D, bit_width=K, num_groups=3, strength=STRENGTH)


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_head_reads_what_is_there_and_hands_back_the_reverse() -> None:
    """Against a head that is read without reversal: the same loss and head gradient, minus three times the others."""
    head, groups = adversary(), torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        head.weight.copy_(seeded(3, D + K, seed=1))
    embedding = normalize(seeded(4, D), dim=-1).requires_grad_()
    code = torch.tanh(seeded(4, K, seed=2)).requires_grad_()
    plain = cross_entropy(torch.cat([embedding, code / K**0.5], dim=1) @ head.weight.T, groups)
    turned = cross_entropy(head(head.seen(embedding, code)), groups)
    torch.testing.assert_close(turned, plain)
    wanted = torch.autograd.grad(plain, [head.weight, embedding, code])
    found = torch.autograd.grad(turned, [head.weight, embedding, code])
    torch.testing.assert_close(found[0], wanted[0])
    for reverse, forward in zip(found[1:], wanted[1:], strict=True):
        torch.testing.assert_close(reverse, -STRENGTH * forward)


def test_start_is_public_and_asks_nothing() -> None:
    head = adversary()
    embedding = normalize(seeded(4, D), dim=-1).requires_grad_()
    value = cross_entropy(head(head.seen(embedding, torch.zeros(4, K))), torch.tensor([0, 1, 2, 1]))
    assert not torch.autograd.grad(value, [embedding])[0].any()


def test_descent_hides_a_group_that_a_fresh_head_could_tell() -> None:
    """A shift that tells the group is unlearnt; without reversal, or without forgetting, the same steps leave it."""

    def told_apart(strength: float, *, forgetting: float = FORGETTING) -> float:
        head = Adversary(embedding_dim=D, bit_width=K, num_groups=2, strength=strength)
        groups = torch.arange(200) % 2
        features = seeded(200, D)
        features[:, 0] += 4.0 * (groups - 0.5)
        tower = torch.eye(D).requires_grad_()
        for _ in range(300):
            embedding = normalize(features @ tower, dim=-1)
            value = cross_entropy(head(head.seen(embedding, torch.zeros(200, K))), groups)
            gradients = torch.autograd.grad(value, [tower, head.weight])
            with torch.no_grad():
                tower -= 0.3 * gradients[0]
                head.weight -= 0.3 * (gradients[1] + forgetting * head.weight)
        embedding = normalize(features @ tower, dim=-1).detach()
        means = [embedding[groups == group].mean(dim=0) for group in (0, 1)]
        return float((means[0] - means[1]).norm())

    assert told_apart(1.0) < 0.05
    assert min(told_apart(0.0), told_apart(1.0, forgetting=0.0)) > 1.0


def model(*overrides: str) -> DualEncoder:
    config = load_config(["encoder.trainable=heads", *overrides])
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    return split_frozen(fresh_model(encoder, config))[1]


def test_a_run_has_a_head_only_where_it_asks_for_one_and_then_trains_it() -> None:
    without, having = model(), model("mitigation.adversary_weight=2", "mitigation.attribute=sex")
    assert "adversary.weight" not in without.state_dict()
    assert trainable_names(having) == (*trainable_names(without), "adversary.weight")
    assert having.adversary is not None
    assert having.adversary.weight.shape[0] == 4  # F, M, O, unknown
    for name, value in without.state_dict().items():
        assert torch.equal(having.state_dict()[name], value)
