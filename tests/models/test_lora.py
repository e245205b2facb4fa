import copy

import pytest
import torch
from torch import nn

from tlcourse.features import freeze
from tlcourse.models import LoRALinear, Mlp, add_lora, merge_lora


def layer(rank=3, alpha=6.0, bias=True, dtype=torch.float64, n_in=7, n_out=5):
    torch.manual_seed(0)
    lora = LoRALinear(nn.Linear(n_in, n_out, bias, dtype=dtype), rank, alpha)
    with torch.no_grad():
        lora.lora_b.normal_()
    return lora


def trained_count(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_the_formula_entry_by_entry(bias):
    lora = layer(bias=bias)
    x = torch.randn(4, 7, dtype=torch.float64)
    w, a, b = (p.detach() for p in (lora.linear.weight, lora.lora_a, lora.lora_b))
    for i, row in enumerate(lora(x)):
        for o in range(5):
            want = lora.linear.bias[o].item() if bias else 0.0
            for j in range(7):
                update = sum(float(b[o, r] * a[r, j]) for r in range(3))
                want += float(w[o, j] + 6.0 / 3 * update) * float(x[i, j])
            assert row[o].item() == pytest.approx(want, rel=1e-12)


def test_starts_as_the_given_layer_and_can_leave():
    linear = nn.Linear(6, 4)
    x = torch.randn(3, 6)
    before = linear(x).detach()
    lora = LoRALinear(linear, 2, 2.0)
    assert torch.equal(lora(x), before) and lora.linear is linear
    lora(x).square().sum().backward()
    assert lora.lora_b.grad.any() and not lora.lora_a.grad.any()
    assert lora.lora_a.std() > 0.1


def test_the_frozen_layer_gets_no_gradient_even_when_thawed():
    lora = layer()
    lora.requires_grad_(True)
    x = torch.randn(4, 7, dtype=torch.float64)
    (lora(x).sum() + lora.weight.sum() + lora.bias.sum()).backward()
    assert lora.linear.weight.grad is None and lora.linear.bias.grad is None
    assert lora.lora_a.grad.any() and lora.lora_b.grad.any()


def test_gradcheck():
    lora = layer()
    x = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)

    def forward(x, a, b):
        return torch.func.functional_call(lora, {"lora_a": a, "lora_b": b}, (x,))

    assert torch.autograd.gradcheck(forward, (x, lora.lora_a, lora.lora_b))


@pytest.mark.parametrize("shape", [(7,), (0, 7), (2, 3, 7)])
def test_any_leading_shape(shape):
    lora = layer()
    x = torch.randn(*shape, dtype=torch.float64)
    torch.testing.assert_close(lora(x), lora.merge()(x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 4e-2),
     (torch.float16, 4e-3)],
)  # fmt: skip
def test_merge_is_a_new_equal_layer(dtype, rtol, bias):
    lora = layer(dtype=dtype, bias=bias)
    assert lora.lora_a.dtype == lora.lora_b.dtype == dtype
    state = copy.deepcopy(lora.state_dict())
    merged = lora.eval().merge()
    assert type(merged) is nn.Linear and not merged.training
    assert merged.weight.dtype == dtype and (merged.bias is not None) == bias
    assert merged.weight.requires_grad
    x = torch.randn(4, 7).to(dtype)
    torch.testing.assert_close(merged(x), lora(x), rtol=rtol, atol=rtol)
    with torch.no_grad():
        for p in merged.parameters():
            p.zero_()
    after = lora.state_dict()
    assert all(torch.equal(after[name], state[name]) for name in state)


def test_device_of_the_layer():
    lora = LoRALinear(nn.Linear(4, 3, device="meta"), 2, 1.0)
    assert lora.lora_a.is_meta and lora.merge().weight.is_meta


def test_layers_that_read_the_weight_get_the_adapted_one():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    add_lora(encoder, ["self_attn.out_proj", "linear1", "linear2"], 2, 4.0)
    for module in encoder.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_b)
    x = torch.randn(3, 5, 8)
    slow = encoder(x)
    slow.sum().backward()
    assert encoder.self_attn.out_proj.lora_a.grad.any()
    plain = merge_lora(copy.deepcopy(encoder))
    torch.testing.assert_close(slow, plain(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # torch's fused path reads linear1.weight
        fast = encoder.eval()(x)
    torch.testing.assert_close(fast, slow.detach(), rtol=1e-4, atol=1e-5)


def test_saves_and_loads():
    first, second = layer(), layer()
    with torch.no_grad():
        first.lora_a.add_(1)
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 7, dtype=torch.float64)
    assert torch.equal(first(x), second(x))
    assert "rank=3, alpha=6.0" in repr(first)


# ---- peft as the oracle


def test_same_as_peft():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = Mlp(6, [8, 7], 3).requires_grad_(False)
    names = ["body.1", "body.3"]
    config = LoraConfig(r=2, lora_alpha=5, target_modules=names, lora_dropout=0.0)
    theirs = get_peft_model(copy.deepcopy(model), config)
    ours = add_lora(model, names, 2, 5)
    assert trained_count(ours) == trained_count(theirs)

    pairs = []
    for name in names:
        mine = ours.get_submodule(name)
        its = theirs.base_model.model.get_submodule(name)
        nn.init.normal_(mine.lora_b)
        its.lora_A["default"].weight.data = mine.lora_a.data.clone()
        its.lora_B["default"].weight.data = mine.lora_b.data.clone()
        pairs.append((mine.lora_a, its.lora_A["default"].weight))
        pairs.append((mine.lora_b, its.lora_B["default"].weight))
    x = torch.randn(9, 6)
    torch.testing.assert_close(ours(x), theirs(x))
    for net in (ours, theirs):
        net(x).square().sum().backward()
    for mine, its in pairs:
        torch.testing.assert_close(mine.grad, its.grad)
    merged = merge_lora(ours)
    torch.testing.assert_close(merged(x), theirs.merge_and_unload()(x))


def test_a_starts_in_pefts_range():
    lora = LoRALinear(nn.Linear(400, 300), 100, 1.0)
    limit = 1 / 400**0.5  # Kaiming-uniform with a = sqrt(5): 1 / sqrt(fan_in)
    assert 0.98 * limit < lora.lora_a.abs().max() <= limit
    assert lora.lora_a.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)


# ---- whole models


def test_add_lora_freezes_only_what_it_names():
    model = Mlp(6, [8, 7], 3)
    assert add_lora(model, ["body.1"], 2, 4.0) is model
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {
        "body.1.lora_a", "body.1.lora_b", "body.3.weight", "body.3.bias",
        "head.weight", "head.bias",
    }  # fmt: skip


def test_add_lora_on_a_frozen_model_trains_a_and_b_only():
    model = freeze(Mlp(6, [8, 7], 3))
    add_lora(model, ["body.1", "head"], 2, 4.0)
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {
        f"{name}.lora_{m}" for name in ("body.1", "head") for m in "ab"
    }  # fmt: skip


def test_merge_lora_gives_a_plain_model():
    model = add_lora(Mlp(6, [8, 7], 3), ["body.1", "head"], 2, 4.0)
    for name in ("body.1", "head"):
        nn.init.normal_(model.get_submodule(name).lora_b)
    x = torch.randn(5, 6)
    want = model(x)
    assert merge_lora(model) is model
    assert not any(isinstance(m, LoRALinear) for m in model.modules())
    torch.testing.assert_close(model(x), want)
    fresh = Mlp(6, [8, 7], 3)
    fresh.load_state_dict(model.state_dict())


def test_merge_lora_keeps_a_layer_in_two_places_one():
    lora = layer(n_in=5)
    model = merge_lora(nn.Sequential(lora, nn.ReLU(), lora))
    assert model[0] is model[2]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.embed.weight
        self.free = nn.Linear(4, 4)


def same_layer_twice():
    shared = nn.Linear(4, 4)
    return nn.Sequential(shared, nn.ReLU(), shared)


@pytest.mark.parametrize(
    ("model", "names", "says"),
    [
        (Mlp(6, [8], 3), "head", "list of different"),
        (Mlp(6, [8], 3), [], "at least one"),
        (Mlp(6, [8], 3), ["head", "head"], "different"),
        (Mlp(6, [8], 3), ["body.1", "hed"], "'body.1', 'head'"),
        (nn.Linear(4, 4), [""], "inside"),
        (Mlp(6, [8], 3), ["body.1", "body.2"], "body.2 must be an nn.Linear"),
        (add_lora(Mlp(6, [8], 3), ["head"], 1, 1.0), ["head"], "LoRA already"),
        (add_lora(Mlp(6, [8], 3), ["head"], 1, 1.0), ["head.linear"], "already"),
        (Tied(), ["free", "out"], "shares its weights with 'embed'"),
        (same_layer_twice(), ["0"], "shares its weights with '2'"),
        (Mlp(6, [8], 1), ["body.1", "head"], "from 1 to 1"),
    ],
)
def test_add_lora_refuses_and_changes_nothing(model, names, says):
    before = [(n, m, [p.requires_grad for p in m.parameters()])
              for n, m in model.named_modules()]  # fmt: skip
    with pytest.raises(ValueError, match=says):
        add_lora(model, names, 2, 4.0)
    after = [(n, m, [p.requires_grad for p in m.parameters()])
             for n, m in model.named_modules()]  # fmt: skip
    assert before == after


@pytest.mark.parametrize("rank", [0, -1, 6, 2.0, True, None])
def test_refuses_a_rank_out_of_range(rank):
    with pytest.raises(ValueError, match="rank must be a whole number from 1 to 5"):
        LoRALinear(nn.Linear(7, 5), rank, 1.0)


@pytest.mark.parametrize("alpha", [0, -1.0, float("inf"), float("nan")])
def test_refuses_an_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha must be > 0"):
        LoRALinear(nn.Linear(7, 5), 2, alpha)


def test_refuses_what_is_no_linear_layer():
    for wrong in (nn.Conv2d(3, 3, 1), layer()):
        with pytest.raises(ValueError, match="must be an nn.Linear"):
            LoRALinear(wrong, 1, 1.0)
    with pytest.raises(ValueError, match="call add_lora first"):
        merge_lora(Mlp(6, [8], 3))
    with pytest.raises(ValueError, match="layer.merge"):
        merge_lora(layer())
