"""The keys of chapter 11 against closed forms and against the package."""

import numpy as np
import pytest
import torch
from torch.func import grad, vmap
from torch.testing import assert_close

from tlcourse import meta
from tlcourse.exercises import get, judge
from tlcourse.exercises.probes.maml.common import task_loss
from tlcourse.exercises.probing import by_role, tensors


def cases(name):
    return [c for seed in range(2) for c in get(f"maml.{name}").probe.make(seed)]


def given(case):
    inputs = tensors(case)
    tasks = [(inputs[f"{d} x"], inputs[f"{d} y"]) for d in ("support", "query")]
    return by_role(inputs, "params"), *tasks, inputs["inner_lr"], inputs["steps"]


def closed_form(params, support, query, inner_lr, steps, first_order):
    """Linear regression, all by hand in NumPy: g, H and the factors I - alpha H."""
    theta = np.append(params["head.weight"].numpy(), params["head.bias"].numpy())
    total, value = 0.0, 0.0
    for x_s, y_s, x_q, y_q in zip(*support, *query, strict=True):
        (a, b), (c, d) = (
            (np.c_[x.numpy(), np.ones(len(x))], y.numpy()[:, 0])
            for x, y in ((x_s, y_s), (x_q, y_q))
        )
        hessian = 2 * a.T @ a / len(b)
        now, factor = theta, np.eye(len(theta))
        for _ in range(1 if steps is None else steps):
            now = now - inner_lr * 2 * a.T @ (a @ now - b) / len(b)
            factor = factor @ (np.eye(len(theta)) - inner_lr * hessian)
        gradient = 2 * c.T @ (c @ now - d) / len(d)
        total = total + (gradient if first_order else factor @ gradient)
        value += ((c @ now - d) ** 2).mean()
    return total / len(support[0]), value / len(support[0])


@pytest.mark.parametrize("name", ["maml_grad", "fomaml_grad"])
def test_keys_equal_the_closed_form_on_a_quadratic(name):
    quadratic = [c for c in cases(name) if "params[body.bias]" not in c.inputs]
    assert len(quadratic) >= 10
    for case in quadratic:
        args = given(case)
        steps = () if args[-1] is None else args[-1:]
        grads, value = get(f"maml.{name}").key.reference(task_loss, *args[:-1], *steps)
        want, its_value = closed_form(*args, first_order=name == "fomaml_grad")
        got = torch.cat([grads["head.weight"].flatten(), grads["head.bias"]])
        assert_close(got.numpy(), want, rtol=1e-9, atol=1e-9)
        assert_close(value.item(), its_value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["inner_step", "anil_params", "maml_grad", "fomaml_grad", "reptile_update"]
)
def test_the_package_solves_the_exercise(name):
    report = judge(get(f"maml.{name}"), getattr(meta, name))
    assert report.score == 1, str(report)


def test_the_package_solves_the_policy_exercise():
    report = judge(get("maml.rl_inner_loss"), meta.rl_inner_loss)
    assert report.score == 1, str(report)


def test_examples_by_hand():
    """The numbers in the statements of lessons/11_maml/exercises.py."""

    def loss(params, x, y):
        return (params["w"] * x - y).square().mean() / 2

    w = {"w": torch.tensor(1.0, requires_grad=True)}
    tasks = [(torch.ones(1, 1), torch.full((1, 1), y)) for y in (3.0, 4.0)]
    key = {e: get(f"maml.{e}").key.reference for e in ("inner_step", "maml_grad")}
    stepped = key["inner_step"](loss, w, tasks[0][0][0], tasks[0][1][0], 0.5)["w"]
    stepped.backward()
    assert stepped.item() == 2 and w["w"].grad.item() == 0.5
    grads, value = key["maml_grad"](loss, w, *tasks, 0.5)
    assert grads["w"].item() == -1 and value.item() == 2
    first = get("maml.fomaml_grad").key.reference(loss, w, *tasks, 0.5)[0]
    assert first["w"].item() == -2
    start, adapted = {"w": torch.tensor(1.0)}, {"w": torch.tensor([2.0, 4.0])}
    assert get("maml.reptile_update").key.reference(start, adapted, 0.5)["w"] == 2
    rewards = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    log_probs = torch.tensor([[-1.0, -1.0], [-1.0, -2.0]])
    surrogate = get("maml.rl_inner_loss").key.reference
    assert surrogate(log_probs, rewards, 0.5).item() == -1
    hunt = get("maml.bug_hunt").key.reference
    after, values = hunt(loss, w, [tuple(tasks)], 0.5, 0.1, 1)
    assert abs(after["w"].item() - 1.1) < 1e-6 and values == [2]


def test_the_key_knows_what_a_gradient_of_vmap_gives():
    """The mutant `vmap_inside` does without torch.func; here is the real mistake."""

    def after(start, x_s, y_s, x_q, y_q):
        inner = grad(task_loss)(start, x_s, y_s)
        return task_loss({k: start[k] - 0.15 * inner[k] for k in start}, x_q, y_q)

    def mean(start):
        return vmap(after, (None, 0, 0, 0, 0))(start, *support, *query).mean()

    normed = [c for c in cases("maml_grad") if "params[norm.bias]" in c.inputs]
    assert normed
    mutant = next(
        m.fn for m in get("maml.maml_grad").key.mutants if m.name == "vmap_inside"
    )
    for case in normed:
        params, support, query = given(case)[:3]
        want = grad(mean)(params)
        got, _ = mutant(task_loss, params, support, query, 0.15)
        right, _ = meta.maml_grad(task_loss, params, support, query, 0.15)
        assert_close(got, want, rtol=1e-9, atol=1e-12)
        gap = max((right[k] - want[k]).abs().max() for k in want)
        assert gap > 1e-4
