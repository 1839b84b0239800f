"""The variational autoencoder: shapes, the reparameterised draw, initial weights."""

from __future__ import annotations

import torch

from seodang.models.vae import VAE, VAEConfig, reparameterize


def small(**settings: object) -> VAE:
    return VAE(
        VAEConfig.of({"in_channels": 3, "image_size": (6, 5), "latent_dim": 4, "hidden_sizes": (16, 8), **settings})
    )


def test_shapes() -> None:
    model = small()
    logits, mean, log_variance = model(torch.randn(7, 3, 6, 5))
    assert logits.shape == (7, 3, 6, 5)
    assert mean.shape == log_variance.shape == (7, 4)
    assert model.decode(torch.randn(2, 4)).shape == (2, 3, 6, 5)


def test_the_decoder_has_the_hidden_layers_in_reverse() -> None:
    widths = [layer.out_features for layer in small().decoder.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [8, 16, 90]


def test_normalization_can_be_left_out() -> None:
    model = small(normalization="none")
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules())
    assert model(torch.randn(1, 3, 6, 5)).logits.shape == (1, 3, 6, 5)


def test_a_draw_has_the_mean_and_variance_asked_for() -> None:
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])
    drawn = reparameterize(mean.expand(100_000, 2), log_variance.expand(100_000, 2))
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), log_variance[0].exp(), rtol=0.03, atol=0)


def test_a_draw_is_differentiable_in_mean_and_variance() -> None:
    mean, log_variance = torch.zeros(1, 3, requires_grad=True), torch.zeros(1, 3, requires_grad=True)
    drawn = reparameterize(mean, log_variance)
    drawn.sum().backward()
    assert mean.grad is not None
    assert log_variance.grad is not None
    torch.testing.assert_close(mean.grad, torch.ones(1, 3))
    torch.testing.assert_close(log_variance.grad, 0.5 * drawn.detach())  # d(ε e^{v/2})/dv = ε/2 at v = 0


def test_draws_follow_the_global_generator() -> None:
    model, images = small().eval(), torch.randn(2, 3, 6, 5)
    torch.manual_seed(1)
    first = model(images).logits
    assert not torch.equal(first, model(images).logits)
    torch.manual_seed(1)
    assert torch.equal(first, model(images).logits)


def test_initial_weights() -> None:
    model = VAE(VAEConfig(hidden_sizes=(400, 300)))
    linear = [layer for layer in model.encoder.layers if isinstance(layer, torch.nn.Linear)]
    for layer, gain in zip(linear, (2.0, 2.0, 1.0), strict=True):
        assert abs(layer.weight.std().item() / (gain / layer.in_features) ** 0.5 - 1) < 0.05
        assert not layer.bias.any()
