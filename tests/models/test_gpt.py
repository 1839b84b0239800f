"""GPT: the forward pass by hand, causality, published sizes, initial weights, cached decoding."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from seodang.core.inputs import Facts, TokenInputs
from seodang.core.recipe import Choice
from seodang.models.base import architectures
from seodang.models.bundle import Bundle, BundleRecord, ties
from seodang.models.gpt import GPT, SIZES, GPTConfig

PUBLISHED = {"gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200}
"""Parameters of the released checkpoints, counted in their files."""

TINY = GPTConfig(vocab_size=11, num_layers=2, num_heads=2, embed_dim=8, max_len=6, init_std=0.3)


def normalized(x, weight, bias):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def by_hand(weights, config, tokens):
    """GPT-2 in NumPy, a position and a head at a time, from the paper's description."""
    w = {name: value.double().numpy() for name, value in weights.items()}
    head = w["embedding.weight"] if config.tied else w["head.weight"]
    width = config.embed_dim // config.num_heads
    out = []
    for row in tokens.numpy():
        x = np.stack([w["embedding.weight"][token] + w["position.weight"][t] for t, token in enumerate(row)])
        for layer in range(config.num_layers):
            p = f"layers.{layer}."
            h = normalized(x, w[p + "attention_norm.weight"], w[p + "attention_norm.bias"])
            qkv = h @ w[p + "attention.qkv.weight"].T + w[p + "attention.qkv.bias"]
            query, key, value = np.split(qkv, 3, axis=-1)
            joined = np.zeros_like(x)
            for n in range(config.num_heads):
                part = slice(n * width, (n + 1) * width)
                for t in range(len(row)):
                    scores = np.exp(key[: t + 1, part] @ query[t, part] / math.sqrt(width))
                    joined[t, part] = scores / scores.sum() @ value[: t + 1, part]
            x = x + joined @ w[p + "attention.output.weight"].T + w[p + "attention.output.bias"]
            h = normalized(x, w[p + "feedforward_norm.weight"], w[p + "feedforward_norm.bias"])
            h = h @ w[p + "feedforward.expand.weight"].T + w[p + "feedforward.expand.bias"]
            if config.gelu == "tanh":
                h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
            else:
                h = 0.5 * h * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
            x = x + h @ w[p + "feedforward.contract.weight"].T + w[p + "feedforward.contract.bias"]
        out.append(normalized(x, w["norm.weight"], w["norm.bias"]) @ head.T)
    return torch.from_numpy(np.stack(out)).float()


@pytest.mark.parametrize("changes", [{}, {"tied": False, "gelu": "exact"}])
def test_logits_equal_the_forward_pass_by_hand(changes):
    config = TINY.replace(**changes)
    model = GPT(config).eval()
    for weight in model.parameters():  # no bias or norm that hides a mistake by being zero or one
        torch.nn.init.normal_(weight, std=0.4)
    tokens = torch.randint(11, (3, 6))
    assert (model(tokens) - by_hand(model.state_dict(), config, tokens)).abs().max() < 1e-5


def test_a_changed_token_changes_no_logits_before_it():
    model, tokens = GPT(TINY).eval(), torch.randint(11, (1, 6))
    before = model(tokens)
    for place in range(6):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 1) % 11
        after = model(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    with torch.device("meta"):
        model = architectures.make(Choice.of({"name": name}))
    assert sum(weight.numel() for weight in model.parameters()) == PUBLISHED[name]


def test_initial_weights_are_gpt2s():
    model = GPT(GPTConfig(vocab_size=500, num_layers=8, num_heads=4, embed_dim=128, max_len=64))
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
        elif "norm" in name:
            assert (weight == 1).all()
        else:
            residual = name.endswith(("attention.output.weight", "feedforward.contract.weight"))
            assert weight.std().item() == pytest.approx(0.02 / 4 if residual else 0.02, rel=0.05), name
    assert model(torch.zeros(1, 4, dtype=torch.long)).softmax(-1).max() < 0.01


def test_reading_and_telling_share_weights_unless_untied():
    tied, untied = GPT(TINY), GPT(TINY.replace(tied=False))
    assert ties(tied) == {"head.weight": "embedding.weight"} == dict(pair[::-1] for pair in GPT.tied)
    assert ties(untied) == {}


@pytest.mark.parametrize("tied", [True, False])
def test_a_bundle_gives_back_the_same_logits(tied, tmp_path):
    config = TINY.replace(tied=tied)
    model, tokens = GPT(config).eval(), torch.randint(11, (2, 6))
    facts = Facts(inputs=TokenInputs(vocab_size=11, length=6), sizes={"train": 1})
    record = BundleRecord(model=Choice.of({"name": "gpt", **config.values()}),
                          task=Choice.of({"name": "language-modeling"}), facts=facts)  # fmt: skip
    Bundle(model, record).write(tmp_path / "bundle")
    assert torch.equal(Bundle.read(tmp_path / "bundle").model(tokens), model(tokens))


@pytest.mark.parametrize("parts", [[6], [1] * 6, [4, 1, 1], [1, 3, 2]])
def test_decoding_with_caches_gives_the_logits_of_the_whole(parts):
    model, tokens = GPT(TINY).eval(), torch.randint(11, (2, 6))
    caches, whole, end = model.caches(), model(tokens), 0
    for part in tokens.split(parts, dim=1):
        end += part.shape[1]
        assert (model.decode(part, caches) - whole[:, end - 1]).abs().max() < 1e-5
    with pytest.raises(ValueError, match="7 tokens, but the model has positions for 6"):
        model.decode(tokens[:, :1], caches)


def test_dropout_acts_in_training_only():
    model, tokens = GPT(TINY.replace(dropout=0.5, attention_dropout=0.5)), torch.randint(11, (2, 6))
    assert not torch.equal(model(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))


def test_every_size_is_a_name():
    assert set(SIZES) <= set(architectures.names())


def test_it_compiles_in_one_piece():
    """In a process without the hook that checks shapes, which no compiler sees through."""
    code = """
import torch
from seodang.models.gpt import GPT, GPTConfig
model = GPT(GPTConfig(vocab_size=11, num_layers=2, num_heads=2, embed_dim=8, max_len=6, dropout=0.1)).train()
tokens = torch.randint(11, (2, 6))
torch.compile(model, backend="eager", fullgraph=True)(tokens)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
