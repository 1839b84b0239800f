"""attend, multi-head attention and its cache, positions, dropout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from seodang.core.errors import ConfigError
from seodang.layers.attention import FEW_SCORES, KeyValueCache, MultiHeadAttention, attend
from seodang.layers.dropout import Dropout, dropout
from seodang.layers.position import LearnedPosition, SinusoidalPosition, sinusoidal
from seodang.layers.record import record
from seodang.layers.transformer import TransformerBlock


class Attending(torch.nn.Module):
    """A module around `attend`, so that it can be recorded."""

    def __init__(self, **settings):
        super().__init__()
        self.settings = settings

    def forward(self, query, key, value):
        return attend(query, key, value, **self.settings)


def by_loops(query, key, value, allowed):
    """The definition, one number at a time."""
    query, key, value, allowed = (x.double().numpy() for x in (query, key, value, allowed))
    answer = np.zeros_like(query)
    for b, n, t in np.ndindex(query.shape[:3]):
        seen = [s for s in range(key.shape[2]) if allowed[b, n, t, s]]
        scores = [math.exp(sum(query[b, n, t] * key[b, n, s]) / math.sqrt(query.shape[3])) for s in seen]
        for score, s in zip(scores, seen, strict=True):
            answer[b, n, t] += score / sum(scores) * value[b, n, s]
    return torch.from_numpy(answer).float()


@pytest.fixture
def heads():
    return torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_explicit_and_definition_agree(heads, causal, masked):
    mask = torch.rand(2, 1, 1, 7) > 0.3 if masked else None
    if masked:
        mask[..., :2] = True
    allowed = torch.ones(2, 3, 5, 7, dtype=torch.bool) if mask is None else mask.expand(2, 3, 5, 7)
    if causal:
        allowed = allowed & (torch.arange(7)[None, :] <= torch.arange(5)[:, None] + 2)
    expected = by_loops(*heads, allowed)
    module = Attending(mask=mask, causal=causal)
    fused = module(*heads)
    with record(module) as kept:
        explicit = module(*heads)
    assert (fused - expected).abs().max() < 1e-6
    assert (explicit - expected).abs().max() < 1e-6
    assert kept["weights"].shape == (2, 3, 5, 7)
    assert torch.equal(kept["weights"] > 0, allowed)
    assert torch.allclose(kept["weights"].sum(-1), torch.ones(2, 3, 5))


def test_a_query_that_may_see_nothing_gets_zeros(heads):
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[1] = False
    module = Attending(mask=mask)
    fused = module(*heads)
    with record(module):
        explicit = module(*heads)
    assert fused[1].abs().max() == explicit[1].abs().max() == 0
    assert fused[0].abs().min() > 0


@pytest.mark.parametrize("length", [4, 40])
def test_in_bfloat16_a_cpu_takes_the_products(length):
    query, key, value = (torch.randn(2, 2, length, 8) for _ in range(3))
    low = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), causal=True).float()
    assert (low - attend(query, key, value, causal=True)).abs().max() < 0.05


def test_the_fused_kernel_runs_when_nobody_looks(heads, monkeypatch):
    called = []

    def spy(*arguments, **keywords):
        called.append(keywords)
        return scaled_dot_product_attention(*arguments, **keywords)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", spy)
    module = Attending()
    module(*heads)
    assert len(called) == 1
    with record(module):
        module(*heads)
    assert len(called) == 1
    short = torch.zeros(1, 1, 8, 2, dtype=torch.bfloat16)
    attend(short, short, short, causal=True)
    assert len(called) == 1
    long = torch.zeros(1, 1, math.isqrt(FEW_SCORES) + 1, 2, dtype=torch.bfloat16)
    attend(long, long, long, causal=True)
    assert called[1]["is_causal"]


def test_gradients_of_both_ways_agree(heads):
    leaves = [x.requires_grad_() for x in heads]
    module = Attending(causal=True)
    fused = torch.autograd.grad(module(*leaves).square().sum(), leaves)
    with record(module):
        explicit = torch.autograd.grad(module(*leaves).square().sum(), leaves)
    for one, two in zip(fused, explicit, strict=True):
        assert (one - two).abs().max() < 1e-5


def test_multi_head_attention_equals_pytorchs():
    ours = MultiHeadAttention(12, 3, causal=True)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict({"in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
                            "out_proj.weight": ours.output.weight, "out_proj.bias": ours.output.bias})  # fmt: skip
    x = torch.randn(2, 6, 12)
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    assert (ours(x) - theirs(x, x, x, attn_mask=later, need_weights=False)[0]).abs().max() < 1e-6


def test_a_padding_mask_hides_padding():
    layer = TransformerBlock(8, 2, 32)
    x = torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    changed = x.clone()
    changed[1, 3:] = 9.0
    assert torch.equal(layer(x, mask)[1, :3], layer(changed, mask)[1, :3])
    assert not torch.equal(layer(x)[1, :3], layer(changed)[1, :3])


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match=r"model.num_heads=5: embed_dim=12 cannot be divided"):
        MultiHeadAttention(12, 5)


@pytest.mark.parametrize("parts", [[6], [1] * 6, [3, 2, 1], [1, 5]])
def test_reading_in_parts_with_a_cache_equals_reading_at_once(parts):
    layer = MultiHeadAttention(12, 3, causal=True)
    x = torch.randn(2, 6, 12)
    cache = KeyValueCache(8)
    read = torch.cat([layer(part, cache=cache) for part in x.split(parts, dim=1)], dim=1)
    assert (read - layer(x)).abs().max() < 1e-6
    assert cache.length == 6


def test_a_full_cache_says_so():
    cache = KeyValueCache(3)
    rows = torch.zeros(1, 1, 2, 4)
    cache.extend(rows, rows)
    with pytest.raises(ValueError, match="a cache of 3 positions cannot take position 4"):
        cache.extend(rows, rows)


def test_sinusoids_are_the_papers():
    waves = sinusoidal(50, 6)
    for place, index in ((0, 0), (7, 2), (49, 4)):
        angle = place / 10000 ** (index / 6)
        assert waves[place, index].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert waves[place, index + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert sinusoidal(4, 5).shape == (4, 5)


@pytest.mark.parametrize("kind", [LearnedPosition, SinusoidalPosition])
def test_positions_start_anywhere_and_end(kind):
    position = kind(6, 4)
    x = torch.randn(2, 3, 4)
    assert torch.equal(position(x, start=2) - x, (x + position.weight[2:5]) - x)
    with pytest.raises(ValueError, match="7 tokens, but the model has positions for 6"):
        position(x, start=4)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(share, kind):
    x = torch.ones(1001, 400, dtype=kind, requires_grad=True)
    y = dropout(x, share)
    dropped = y == 0
    spread = (share * (1 - share) / x.numel()) ** 0.5
    assert abs(dropped.double().mean().item() - share) < 5 * spread
    assert y[~dropped].float().unique().item() == pytest.approx(1 / (1 - share), rel=5e-3)
    y.sum().backward()
    assert torch.equal(x.grad == 0, dropped)
    rows = dropped.double().mean(1)
    assert rows.std().item() == pytest.approx((share * (1 - share) / 400) ** 0.5, rel=0.15)  # independent draws
    neighbours = (dropped[:, 1:] & dropped[:, :-1]).double().mean().item()
    assert neighbours == pytest.approx(share**2, abs=0.01)


def test_dropout_repeats_with_the_generator_and_rests_in_evaluation():
    layer, x = Dropout(0.3), torch.randn(5, 7)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, layer(x))
    assert layer.eval()(x) is x
