import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse.models import Mlp, small_resnet
from tlcourse.tuning import gradual_unfreeze, param_groups

STAGES = ["stem", "stage1", "stage2", "stage3", "head"]


class Odd(nn.Module):
    """A lone parameter, tied weights, a stage without parameters."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.embed = nn.Embedding(9, 4)
        self.act = nn.ReLU()
        self.out = nn.Linear(4, 9)
        self.out.weight = self.embed.weight


def names_of(model, groups):
    name = {p: n for n, p in model.named_parameters()}
    return {g["name"]: [name[p] for p in g["params"]] for g in groups}


def test_rates_are_powers_and_cover_every_parameter_once():
    model = small_resnet(3, width=2)
    groups = param_groups(model, 0.1, factor=2.0)
    assert [g["name"] for g in groups] == STAGES
    want = [0.1 / 16, 0.1 / 8, 0.1 / 4, 0.1 / 2, 0.1]
    assert [g["lr"] for g in groups] == pytest.approx(want)
    listed = [p for g in groups for p in g["params"]]
    assert len(listed) == len(set(listed)) and set(listed) == set(model.parameters())


def test_a_torch_optimiser_takes_them():
    model = small_resnet(3, width=2)
    optimizer = torch.optim.SGD(param_groups(model, 0.1))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for n, p in model.named_parameters():
        rate = 0.1 / 2.6 ** (4 - STAGES.index(n.split(".")[0]))
        torch.testing.assert_close(p.detach(), before[n] - rate)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(mask=st.lists(st.booleans(), min_size=11, max_size=11), cut=st.integers(0, 3))
def test_no_parameter_lost_doubled_or_frozen_in(mask, cut):
    model = Mlp(5, [4, 4, 4, 4], 3)
    stages = [["body", "head"], ["body.1", "body.3", "body.5", "body.7", "head"],
              ["body.1.weight", "body.1.bias", "body.3", "body.5", "body.7", "head"],
              None][cut]  # fmt: skip
    parameters = list(model.parameters())
    for p, learns in zip(parameters, mask, strict=False):
        p.requires_grad_(learns)
    learning = {p for p in parameters if p.requires_grad}
    if not learning:
        with pytest.raises(ValueError, match="nothing to train"):
            param_groups(model, 1.0, stages)
        return
    groups = param_groups(model, 1.0, stages)
    listed = [p for g in groups for p in g["params"]]
    assert len(listed) == len(learning) and set(listed) == learning
    assert all(g["params"] for g in groups)


def test_a_frozen_stage_keeps_its_place():
    model = small_resnet(3, width=2)
    model.stage3.requires_grad_(False)
    rates = {g["name"]: g["lr"] for g in param_groups(model, 1.0, STAGES, 2.0)}
    assert rates == {"stem": 1 / 16, "stage1": 1 / 8, "stage2": 1 / 4, "head": 1.0}


def test_tied_weights_once_in_the_earlier_stage():
    model = Odd()
    groups = param_groups(model, 1.0, ["token", "embed", "act", "out"], 10.0)
    assert names_of(model, groups) == {
        "token": ["token"], "embed": ["embed.weight"], "out": ["out.bias"],
    }  # fmt: skip
    assert [g["lr"] for g in groups] == pytest.approx([1e-3, 1e-2, 1.0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lr": 0}, "lr must be > 0"),
        ({"lr": float("nan")}, "lr must be"),
        ({"factor": 0.5}, "factor must be >= 1"),
        ({"stages": "head"}, "stages must be a list"),
        ({"stages": []}, "stages must be a list"),
        ({"stages": ["body", "hed"]}, "no part 'hed'; its direct parts are 'body'"),
        ({"stages": ["body.1", "body", "head"]}, "overlap"),
        ({"stages": ["body", "head", "head"]}, "overlap"),
        ({"stages": ["body"]}, "no stage holds the parameter 'head.weight'"),
        ({"stages": [""]}, "no part ''"),
    ],
)
def test_param_groups_refuses(change, says):
    with pytest.raises(ValueError, match=says):
        param_groups(Mlp(5, [4, 4], 3), **{"lr": 0.1, **change})


def test_a_lone_parameter_is_not_lost_in_silence():
    with pytest.raises(ValueError, match="no stage holds the parameter 'token'"):
        param_groups(Odd(), 0.1)


# ---- gradual unfreezing


def learning(model):
    return {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("every", [1, 2, 3])
def test_one_stage_more_every_few_epochs(every):
    model = small_resnet(3, width=2)
    for epoch in [*range(18), 4, 0, 9]:  # a jump back is fine
        names = gradual_unfreeze(model, epoch, every=every)
        count = min(5, 1 + epoch // every)
        assert list(names) == STAGES[-count:]
        assert learning(model) == set(STAGES[-count:])


def test_batchnorm_of_frozen_stages_stays_and_of_others_moves():
    torch.manual_seed(0)
    model = small_resnet(3, width=2)
    x = torch.randn(6, 1, 16, 16) + 1
    for epoch in range(5):
        gradual_unfreeze(model, epoch, STAGES)
        start = {n: b.clone() for n, b in model.named_buffers()}
        model.train()
        model(x)
        for n, b in model.named_buffers():
            thawed = n.split(".")[0] in STAGES[-1 - epoch :]
            assert torch.equal(b, start[n]) != thawed, (epoch, n)
    assert all(m.training for m in model.train().modules())
    assert not any(m.training for m in model.eval().modules())


def test_what_is_in_no_stage_is_frozen():
    model = Mlp(5, [4, 4], 3)
    gradual_unfreeze(model, 7, ["body.3", "head"])
    assert not model.body[1].weight.requires_grad and model.body[3].weight.requires_grad


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": -1}, "epoch must be a whole number >= 0"),
        ({"epoch": 1.0}, "epoch must be"),
        ({"every": 0}, "every must be a whole number >= 1"),
        ({"stages": ["body", "hed"]}, "no part 'hed'"),
        ({"stages": ["body.1.weight", "head"]}, "is a parameter; name a module"),
        ({"stages": ["body", "body.1"]}, "overlap"),
    ],
)
def test_gradual_unfreeze_refuses(change, says):
    with pytest.raises(ValueError, match=says):
        gradual_unfreeze(Mlp(5, [4, 4], 3), **{"epoch": 0, **change})
