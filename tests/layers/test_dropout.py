"""Drop path drops branches whole, per example, more of them the deeper; the mean stays."""

from __future__ import annotations

import pytest
import torch

from seodang.core.errors import ConfigError
from seodang.layers.dropout import DropPath, drop_path, drop_path_shares
from seodang.models.gpt import GPT, GPTConfig
from seodang.models.mlp import MLP, MLPConfig


def test_examples_are_dropped_whole_and_the_others_scaled() -> None:
    torch.manual_seed(0)
    found = drop_path(torch.ones(4000, 3, 2), 0.25)
    kept = found[:, 0, 0]
    assert sorted(set(kept.tolist())) == pytest.approx([0, 4 / 3])
    assert torch.equal(found, kept[:, None, None].expand_as(found)), "one draw for an example"
    assert abs(kept.mean().item() - 1) < 0.03


def test_nothing_is_dropped_when_it_predicts_nor_with_a_share_of_zero() -> None:
    x = torch.randn(5, 3)
    before = torch.get_rng_state()
    assert drop_path(x, 0.5, training=False) is x
    assert drop_path(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), before), "no random number is drawn for nothing"
    assert DropPath(0.5).eval()(x) is x


def test_the_linear_rule() -> None:
    assert list(drop_path_shares(0.4, 4)) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    blocks = GPT(GPTConfig(**{**GPT.example, "num_layers": 4}, drop_path=0.2)).layers
    assert [block.drop_path.share for block in blocks] == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_a_transformer_with_every_branch_dropped_passes_its_input_on() -> None:
    model = GPT(GPTConfig(**GPT.example, drop_path=0.5))
    block = model.layers[-1].train()
    block.drop_path.share = 1 - 1e-7
    x = torch.randn(2, 6, 8)
    assert torch.equal(block(x), x)
    assert not torch.equal(block.eval()(x), x)


# -------------------------------------------------------------------------------------------- residual MLP


def residual(**settings: object) -> MLP:
    torch.manual_seed(0)
    return MLP(
        MLPConfig.of({"in_features": 12, "hidden_sizes": (16, 16, 16), "out_features": 3, "residual": True, **settings})
    )


def test_a_residual_mlp_is_the_equation() -> None:
    model, x = residual(), torch.randn(5, 12)
    first, *rest = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    hidden = first(x)
    for dense in rest[:-1]:
        hidden = hidden + dense(hidden.relu())
    assert torch.allclose(model(x), rest[-1](hidden.relu()))


def test_it_has_the_weights_of_a_plain_one() -> None:
    plain = MLP(MLPConfig(in_features=12, hidden_sizes=(16, 16, 16), out_features=3))
    assert sorted(map(str, (w.shape for w in plain.parameters()))) == sorted(
        map(str, (w.shape for w in residual().parameters()))
    )


def test_where_the_width_changes_nothing_is_added() -> None:
    model = residual(hidden_sizes=(16, 16, 8))
    assert [layer.adds for layer in model.layers[2:]] == [True, False, False]
    assert model(torch.randn(2, 12)).shape == (2, 3)


def test_the_spread_grows_e_fold_at_most_however_deep() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 32)
    for depth in (8, 64):
        model = MLP(MLPConfig(in_features=32, hidden_sizes=(64,) * depth, out_features=4, residual=True))
        first = model.layers[1](x)
        last = model.layers[1:-1](x)
        assert 1.2 < (last.std() / first.std()).item() < 2.2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"drop_path": 0.1}, "drop_path=0.1"),
        ({"residual": True}, r"hidden_sizes=\[256\]"),
        ({"residual": True, "hidden_sizes": (8, 4)}, r"hidden_sizes=\[8, 4\]"),
        ({"residual": True, "hidden_sizes": (8, 8), "drop_path": 1.0}, "drop_path"),
    ],
)
def test_what_cannot_go_together_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MLPConfig.of(settings, "model")
