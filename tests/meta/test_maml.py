"""MAML's gradient against closed forms, finite differences and an explicit loop."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap

from tlcourse import meta

quiet = settings(max_examples=20, deadline=None, derandomize=True)
WAYS = ("vmap", "loop", "batched")
FUNCTIONS = (meta.maml_grad, meta.fomaml_grad)


class Quadratic:
    """(theta - y)^T x (theta - y) / 2: the data are a Hessian and a best theta."""

    def __call__(self, params, x, y):
        off = params["theta"] - y
        return 0.5 * off @ x @ off

    def stacked(self, params, x, y):
        off = params["theta"] - y
        return 0.5 * torch.einsum("ti,tij,tj->t", off, x, off)


def quadratic_tasks(num_tasks=3, d=4, seed=0):
    g = torch.Generator().manual_seed(seed)

    def one():
        root = torch.randn(num_tasks, d, d, generator=g, dtype=torch.float64)
        hessian = root @ root.transpose(1, 2) / d + 0.1 * torch.eye(d)
        return hessian, torch.randn(num_tasks, d, generator=g, dtype=torch.float64)

    theta = torch.randn(d, generator=g, dtype=torch.float64)
    return {"theta": theta}, one(), one()


def perceptron(seed=0, tasks=3, d=2, out=1):
    """A float64 network with a head, tasks for it, and its loss."""
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = nn.Sequential()
    model.add_module("body", nn.Linear(d, 5))
    model.add_module("act", nn.Tanh())
    model.add_module("head", nn.Linear(5, out))
    model = model.double()

    def draw(n):
        x = torch.randn(tasks, n, d, generator=g, dtype=torch.float64)
        return x, torch.randn(tasks, n, out, generator=g, dtype=torch.float64)

    loss = meta.module_loss(model, F.mse_loss)
    return loss, loss.params(), draw(4), draw(6)


def textbook(loss, params, support, query, lr, steps, names, second_order):
    """Plain autograd, one task after the other; first order by a detached gradient."""
    start = {n: v.clone().requires_grad_() for n, v in params.items()}
    total = 0
    for t in range(len(support[0])):
        moved = dict(start)
        for _ in range(steps):
            value = loss(moved, support[0][t], support[1][t])
            found = torch.autograd.grad(
                value, [moved[n] for n in names], create_graph=True
            )
            for n, g in zip(names, found, strict=True):
                moved[n] = moved[n] - lr * (g if second_order else g.detach())
        total = total + loss(moved, query[0][t], query[1][t])
    total = total / len(support[0])
    grads = torch.autograd.grad(total, list(start.values()))
    return dict(zip(start, grads, strict=True)), total.detach()


def relative(a, b, names=None):
    names = names or list(b)
    return float(
        torch.cat([(a[n] - b[n]).flatten() for n in names]).norm()
        / torch.cat([b[n].flatten() for n in names]).norm()
    )


@pytest.mark.parametrize("tasks, steps", itertools.product(WAYS, (0, 1, 4)))
def test_quadratic_has_a_closed_form(tasks, steps):
    params, (a, c), (b, e) = quadratic_tasks()
    theta, lr, eye = params["theta"], 0.2, torch.eye(4, dtype=torch.float64)
    exact, first, values = 0, 0, 0
    for t in range(3):
        shrink = torch.linalg.matrix_power(eye - lr * a[t], steps)
        off = c[t] + shrink @ (theta - c[t]) - e[t]
        first = first + b[t] @ off / 3
        exact = exact + shrink.T @ b[t] @ off / 3
        values = values + 0.5 * off @ b[t] @ off / 3
    args = (Quadratic(), params, (a, c), (b, e), lr, steps)
    grads, value = meta.maml_grad(*args, tasks=tasks)
    torch.testing.assert_close(grads["theta"], exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(value, values, rtol=1e-12, atol=1e-12)
    grads, value = meta.fomaml_grad(*args, tasks=tasks)
    torch.testing.assert_close(grads["theta"], first, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(value, values, rtol=1e-12, atol=1e-12)
    if steps:
        assert float((exact - first).norm() / exact.norm()) > 0.1


@pytest.mark.parametrize(
    "names", [None, ("head.weight", "head.bias"), ("body.weight",)]
)
@pytest.mark.parametrize("function, steps", itertools.product(FUNCTIONS, (1, 3)))
def test_three_ways_equal_the_textbook(function, steps, names):
    loss, params, support, query = perceptron()
    moving = names or tuple(params)
    second = function is meta.maml_grad
    wanted, value = textbook(loss, params, support, query, 0.3, steps, moving, second)
    for tasks in WAYS:
        args = (loss, params, support, query, 0.3, steps)
        grads, found = function(*args, adapted=names, tasks=tasks)
        assert list(grads) == list(params)
        assert relative(grads, wanted) < 1e-13
        assert float(found) == pytest.approx(float(value), rel=1e-13)
        assert not any(g.requires_grad for g in grads.values())
        assert not found.requires_grad and found.ndim == 0


def test_gradient_is_that_of_the_value():
    loss, params, support, query = perceptron(1)
    grads, _ = meta.maml_grad(loss, params, support, query, 0.3, 2)
    for name, start in params.items():
        for i in range(start.numel()):
            step = torch.zeros(start.numel(), dtype=torch.float64)
            step[i] = 1e-5
            sides = []
            for sign in (1, -1):
                near = {**params, name: start + sign * step.view_as(start)}
                sides.append(meta.maml_grad(loss, near, support, query, 0.3, 2)[1])
            slope = float(sides[0] - sides[1]) / 2e-5
            assert slope == pytest.approx(float(grads[name].flatten()[i]), abs=1e-8)


def test_inner_step_passes_gradcheck():
    loss, params, (x, y), _ = perceptron(2, tasks=1)
    names = list(params)

    def after(*values):
        start = dict(zip(names, values, strict=True))
        moved = meta.inner_step(loss, start, x[0], y[0], 0.4)
        return loss(meta.inner_step(loss, moved, x[0], y[0], 0.4), x[0] + 1, y[0])

    values = [v.requires_grad_() for v in params.values()]
    assert torch.autograd.gradcheck(after, values)
    assert torch.autograd.gradgradcheck(after, values)


NORMS = {
    "batch": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "batch, plain": lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "layer": lambda: nn.LayerNorm([4, 3, 3]),
    "group": lambda: nn.GroupNorm(2, 4),
    "rms": lambda: nn.RMSNorm([4, 3, 3]),
}


def norm_case(kind):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), NORMS[kind](), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)
    ).double()
    for p in model.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    support, query = (
        (torch.randn(3, n, 2, 5, 5).double(), torch.randint(3, (3, n))) for n in (4, 6)
    )
    loss = meta.module_loss(model)
    return model, loss, loss.params(), support, query


@pytest.mark.parametrize("kind", NORMS)
def test_norms_that_adapt_are_exact(kind):
    """The silent second-order error of grad(vmap(...)) must not be ours."""
    _, loss, params, support, query = norm_case(kind)
    for function, steps in itertools.product(FUNCTIONS, (1, 2)):
        second = function is meta.maml_grad
        args = (loss, params, support, query, 0.3, steps)
        wanted, _ = textbook(*args, list(params), second)
        for tasks in ("vmap", "loop"):
            assert relative(function(*args, tasks=tasks)[0], wanted) < 1e-13


@pytest.mark.parametrize("kind, wrong", [("batch", 1), ("instance", 1), ("layer", 1)])
def test_the_trap_of_torch_is_still_there(kind, wrong):
    """If torch mends it, lesson 11 and the module's docstring must change."""
    model, _, params, support, query = norm_case(kind)

    def loss(p, x, y):
        return F.cross_entropy(functional_call(model, p, (x,)), y)

    def task(p, sx, sy, qx, qy):
        found = grad(loss)(p, sx, sy)
        return loss({n: p[n] - 0.3 * found[n] for n in p}, qx, qy)

    dims = (None, 0, 0, 0, 0)
    trap = grad(lambda p: vmap(task, dims)(p, *support, *query).mean())(params)
    wanted, _ = textbook(loss, params, support, query, 0.3, 1, list(params), True)
    assert relative(trap, wanted) > 1e-4


@pytest.mark.parametrize("rate, shrinks", [(0.1, True), (0.49, True), (0.51, False)])
def test_inner_loop_is_stable_below_two_over_lambda(rate, shrinks):
    eigenvalues = torch.tensor([4.0, 1.0], dtype=torch.float64)
    hessian = torch.diag(eigenvalues)[None]
    support = (hessian, torch.zeros(1, 2, dtype=torch.float64))
    params = {"theta": torch.ones(2, dtype=torch.float64)}
    curve = meta.adaptation_curve(Quadratic(), params, support, support, rate, 30)
    k = torch.arange(31)[:, None]
    wanted = 0.5 * (eigenvalues * (1 - rate * eigenvalues) ** (2 * k)).sum(1)
    torch.testing.assert_close(curve[:, 0], wanted, rtol=1e-10, atol=1e-300)
    assert bool(curve[30] < curve[0]) is shrinks


@pytest.mark.parametrize("tasks", WAYS)
def test_adapted_parameters_and_curve(tasks):
    loss, params, support, query = perceptron(3)
    args = (loss, params, support)
    ends = meta.adapt_params(*args, 0.3, 3, tasks=tasks)
    curve = meta.adaptation_curve(*args, query, 0.3, 3, tasks=tasks)
    assert curve.shape == (4, 3)
    for t in range(3):
        moved = params
        x, y = support[0][t], support[1][t]
        for _ in range(3):
            moved = meta.inner_step(loss, moved, x, y, 0.3)
        for name in params:
            assert ends[name].shape == (3, *params[name].shape)
            torch.testing.assert_close(ends[name][t], moved[name])
        start = loss(params, query[0][t], query[1][t])
        torch.testing.assert_close(curve[0, t], start)
    value = meta.maml_grad(*args, query, 0.3, 3)[1]
    torch.testing.assert_close(curve[3].mean(), value)
    assert not curve.requires_grad
    assert not any(v.requires_grad for v in ends.values())


@pytest.mark.parametrize("tasks", WAYS)
def test_only_adapted_names_move(tasks):
    loss, params, support, _ = perceptron(4)
    names = meta.anil_params(params)
    assert names == ("head.weight", "head.bias")
    ends = meta.adapt_params(loss, params, support, 0.3, 2, adapted=names, tasks=tasks)
    for name, value in params.items():
        same = torch.equal(ends[name], value.expand(3, *value.shape))
        assert same is (name not in names)


def test_a_parameter_that_the_loss_ignores_stays():
    loss, params, support, query = perceptron(5)
    more = {**params, "other": torch.ones(2, dtype=torch.float64)}
    for function, tasks in itertools.product(FUNCTIONS, WAYS):
        grads, _ = function(loss, more, support, query, 0.1, tasks=tasks)
        assert grads["other"].tolist() == [0, 0]
    moved = meta.inner_step(loss, more, support[0][0], support[1][0], 0.1)
    assert torch.equal(moved["other"], more["other"])


@pytest.mark.parametrize("tasks", WAYS)
def test_nothing_of_the_caller_changes(tasks):
    loss, params, support, query = perceptron(6)
    params = {name: value.requires_grad_() for name, value in params.items()}
    before = {name: value.detach().clone() for name, value in params.items()}
    state = torch.get_rng_state()
    with torch.no_grad():  # must not cut the gradient off
        grads, _ = meta.maml_grad(loss, params, support, query, 0.1, 2, tasks=tasks)
    assert min(float(g.abs().max()) for g in grads.values()) > 0
    assert torch.equal(state, torch.get_rng_state())
    for name, value in params.items():
        assert torch.equal(value, before[name])
        assert value.grad is None and value.requires_grad


@quiet
@given(st.permutations(range(4)), st.sampled_from(WAYS))
def test_order_and_number_of_equal_tasks_do_not_matter(order, tasks):
    loss, params, support, query = perceptron(7, tasks=4)
    wanted, value = meta.maml_grad(loss, params, support, query, 0.2, 2, tasks=tasks)
    order = [*order, *order]
    args = [tuple(part[order] for part in pair) for pair in (support, query)]
    grads, again = meta.maml_grad(loss, params, *args, 0.2, 2, tasks=tasks)
    assert relative(grads, wanted) < 1e-12
    torch.testing.assert_close(value, again)


def test_float32_ways_agree():
    loss = meta.module_loss(meta.sinusoid_model(), F.mse_loss)
    data = meta.sinusoid_batch(8, 10, 10, torch.Generator().manual_seed(0))
    ways = [meta.maml_grad(loss, loss.params(), *data, 0.01, 5, tasks=w) for w in WAYS]
    assert relative(ways[0][0], ways[1][0]) < 1e-4
    assert relative(ways[2][0], ways[1][0]) < 1e-4


@pytest.mark.parametrize(
    "change, word",
    [
        ({"inner_lr": 0}, "inner_lr"),
        ({"inner_lr": float("nan")}, "inner_lr"),
        ({"inner_lr": "0.1"}, "inner_lr"),
        ({"steps": -1}, "steps"),
        ({"steps": 1.0}, "steps"),
        ({"tasks": "all"}, "tasks"),
        ({"adapted": "head.bias"}, "adapted"),
        ({"adapted": ["nose"]}, "adapted"),
        ({"adapted": []}, "adapted"),
        ({"params": {}}, "params"),
        ({"params": {"a": torch.zeros(2, dtype=torch.int64)}}, "params"),
        ({"support": torch.zeros(3)}, "support"),
        ({"support": (torch.zeros(3, 4, 2), torch.zeros(3, 4, 1))}, "float32"),
        ({"query": (torch.zeros(3, 4, 2).double(), torch.zeros(2, 4, 1))}, "query"),
        ({"query": (torch.zeros(0, 4, 2).double(),) * 2}, "query"),
        ({"query": (torch.full((3, 4, 2), torch.nan).double(),) * 2}, "nan"),
        ({"query": (torch.zeros(2, 4, 2).double(),) * 2}, "same tasks"),
        ({"loss": lambda p, x, y: (x @ p["body.weight"].T).sum(0)}, "loss"),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_input_names_the_argument(function, change, word):
    loss, params, support, query = perceptron()
    given = {"loss": loss, "params": params, "support": support, "query": query}
    with pytest.raises(ValueError, match=word):
        function(**{**given, "inner_lr": 0.1, "steps": 1, **change})


def test_batched_needs_a_stacked_loss():
    params, support, query = quadratic_tasks()
    plain = Quadratic().__call__
    with pytest.raises(ValueError, match="stacked"):
        meta.maml_grad(plain, params, support, query, 0.1, tasks="batched")
    with pytest.raises(ValueError, match=r"'theta'"):
        meta.anil_params(params)
