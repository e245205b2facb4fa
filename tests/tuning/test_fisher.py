import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import data
from tlcourse.losses import ewc_penalty
from tlcourse.models import small_resnet
from tlcourse.tuning import fisher_diagonal


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)
    ).double()


def samples(n=5, classes=3):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=g, dtype=torch.float64)
    return x, torch.randint(classes, (n,), generator=g)


def central_difference(model, x, c, p, i, eps=1e-5):
    """d log p(c | x) / d p_i by finite differences."""
    flat, values = p.data.view(-1), []
    for sign in (1, -1):
        flat[i] += sign * eps
        values.append(model(x[None]).log_softmax(1)[0, c].item())
        flat[i] -= sign * eps
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize("labels", ["model", "data"])
def test_is_the_slow_loop_of_finite_differences(labels):
    model, (x, y) = net().train(), samples()
    model[1].running_mean.normal_()
    found = fisher_diagonal(model, (x, y), labels)
    model.eval()
    for name, p in model.named_parameters():
        for i in range(0, p.numel(), 5):
            want = 0.0
            for row, label in zip(x, y.tolist(), strict=True):
                chances = model(row[None]).softmax(1)[0].tolist()
                for c, chance in enumerate(chances):
                    weight = chance if labels == "model" else float(c == label)
                    want += weight * central_difference(model, row, c, p, i) ** 2
            got = found[name].flatten()[i].item()
            assert got == pytest.approx(want / len(x), rel=1e-5, abs=1e-12)


def test_closed_form_for_softmax_regression():
    """F of W_cj is the mean of p_c (1 - p_c) x_j^2, and of b_c that of p_c (1 - p_c).

    The gradient of log p(y) is (1[y = c] - p_c) x_j; the variance of a Bernoulli
    variable is p (1 - p).
    """
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(4, 3).double(), samples(40)
    p = model(x).softmax(1).detach()
    found = fisher_diagonal(model, x)
    spread = p * (1 - p)  # (n, k)
    torch.testing.assert_close(found["weight"], spread.T @ x.square() / 40)
    torch.testing.assert_close(found["bias"], spread.mean(0))
    # The empirical one puts the labels in the place of the expectation.
    miss = (F.one_hot(y, 3) - p).square()
    found = fisher_diagonal(model, (x, y), "data")
    torch.testing.assert_close(found["weight"], miss.T @ x.square() / 40)


def test_model_fisher_is_the_hessian_of_the_loss_for_a_linear_model():
    """For softmax regression the Hessian does not depend on the labels."""
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(4, 3, bias=False).double(), samples(20)
    hessian = torch.func.hessian(lambda w: F.cross_entropy(x @ w.T, y))(
        model.weight.detach()
    )
    diagonal = torch.einsum("cjcj->cj", hessian)
    torch.testing.assert_close(fisher_diagonal(model, x)["weight"], diagonal)


def test_leaves_no_trace():
    model, pair = net().train(), samples()
    model[1].eval()
    model[4].bias.requires_grad_(False)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = fisher_diagonal(model, pair, "data")
    assert [m.training for m in model] == [True, False, True, True, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones(6, 4).double())
    assert model[4].weight.grad is None
    assert "4.bias" not in found and "4.weight" in found
    assert all(not f.requires_grad and (f >= 0).all() for f in found.values())


def test_modes_come_back_after_an_error():
    model = net().train()
    with pytest.raises(RuntimeError):
        fisher_diagonal(model, torch.zeros(2, 9).double())
    assert all(m.training for m in model.modules())


def test_sealed_labels_do_for_the_model_fisher_and_feed_the_penalty():
    digits = data.load("digits", size=8).subset(range(3)).sealed()
    model = small_resnet(10, width=2)
    fisher = fisher_diagonal(model, digits, progress=False)
    params = dict(model.named_parameters())
    start = {n: p.detach().clone() for n, p in params.items()}
    assert ewc_penalty(params, start, fisher, 5.0).item() == 0
    assert set(fisher) == set(params)


def test_a_parameter_without_influence_has_fisher_zero():
    model = nn.Linear(4, 3).double()
    model.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert not fisher_diagonal(model, samples())["unused"].any()


def test_refuses():
    model, (x, y) = net(), samples()
    with pytest.raises(ValueError, match="'model' or 'data'"):
        fisher_diagonal(model, (x, y), "true")
    with pytest.raises(ValueError, match="no labels"):
        fisher_diagonal(model, x, "data")
    with pytest.raises(ValueError, match="3 outputs"):
        fisher_diagonal(model, (x, y + 1), "data")
    with pytest.raises(ValueError, match="classes"):
        fisher_diagonal(model, (x, y.float()), "data")
    with pytest.raises(ValueError, match="no_grad"), torch.no_grad():
        fisher_diagonal(model, x)
    with pytest.raises(ValueError, match="unfreeze"):
        fisher_diagonal(model.requires_grad_(False), x)
