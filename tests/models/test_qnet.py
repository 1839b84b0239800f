"""The Q-network: one stream and two."""

from __future__ import annotations

import torch

from seodang.models.qnet import QNet, QNetConfig


def test_values_of_all_actions_in_one_pass() -> None:
    model = QNet(QNetConfig(in_features=3, num_actions=4, hidden_sizes=(8, 6)))
    assert model.value is None
    assert model(torch.randn(5, 3)).shape == (5, 4)
    assert sum(weight.numel() for weight in model.parameters()) == (3 * 8 + 8) + (8 * 6 + 6) + (6 * 4 + 4)


def test_two_streams_add_up_as_in_the_paper() -> None:
    """Wang et al. 2016, eq. 9: the advantages are taken less their mean, so the mean of Q is V."""
    model = QNet(QNetConfig(in_features=3, num_actions=4, hidden_sizes=(8, 6), dueling=True))
    observations = torch.randn(5, 3)
    values = model(observations)
    assert model.value is not None
    features = model.shared(observations)
    torch.testing.assert_close(values.mean(1), model.value(features)[:, 0])
    advantages = model.advantages(features)
    torch.testing.assert_close(values - values[:, :1], advantages - advantages[:, :1])


def test_one_hidden_layer_is_enough() -> None:
    assert QNet(QNetConfig(hidden_sizes=(5,), dueling=True))(torch.randn(2, 4)).shape == (2, 2)


def test_initial_weights_lie_within_the_fan_in_bound() -> None:
    model = QNet(QNetConfig(hidden_sizes=(64, 32)))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            bound = module.in_features**-0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound
            assert module.bias.abs().max() <= bound
