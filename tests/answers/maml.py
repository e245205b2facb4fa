"""A second right answer to each exercise, in another style than solutions/."""

import torch
from torch.func import functional_call, grad, grad_and_value, vmap


def inner_step(loss, params, x, y, inner_lr, adapted=None):
    moving = set(params if adapted is None else adapted)

    def of(some):
        return loss({**params, **some}, x, y)

    gradients = grad(of)({k: p for k, p in params.items() if k in moving})
    return {
        k: torch.sub(p, gradients[k], alpha=inner_lr) if k in moving else p
        for k, p in params.items()
    }


def anil_params(params, head="head"):
    depth = head.count(".") + 1
    found = tuple(k for k in params if k.split(".")[:depth] == head.split("."))
    if found:
        return found
    raise ValueError("nothing would adapt")


def maml_grad(loss, params, support, query, inner_lr, steps=1):
    # One task by torch.func, all tasks by vmap outside of the gradient.
    def adapted_loss(start, x_s, y_s, x_q, y_q):
        fast = start
        for _ in range(steps):
            inner = grad(loss)(fast, x_s, y_s)
            fast = {k: p - inner_lr * inner[k] for k, p in fast.items()}
        return loss(fast, x_q, y_q)

    start = {k: p.detach() for k, p in params.items()}
    by_task = vmap(grad_and_value(adapted_loss), (None, 0, 0, 0, 0))
    grads, values = by_task(start, *support, *query)
    return {k: g.mean(0) for k, g in grads.items()}, values.mean().item()


def fomaml_grad(loss, params, support, query, inner_lr, steps=1):
    # The gradient by a shift that is zero, added to adapted parameters.
    def shifted_loss(shift):
        total = 0.0
        for x_s, y_s, x_q, y_q in zip(*support, *query, strict=True):
            fast = {k: p.detach() for k, p in params.items()}
            for _ in range(steps):
                inner = grad(loss)(fast, x_s, y_s)
                fast = {k: p - inner_lr * inner[k].detach() for k, p in fast.items()}
            total = total + loss({k: p + shift[k] for k, p in fast.items()}, x_q, y_q)
        return total / len(support[0])

    shift = {k: torch.zeros_like(p, requires_grad=True) for k, p in params.items()}
    value = shifted_loss(shift)
    value.backward()
    return {k: s.grad for k, s in shift.items()}, value


def reptile_update(params, adapted, step):
    with torch.no_grad():
        return {k: torch.lerp(p, adapted[k].mean(0), step) for k, p in params.items()}


def rl_inner_loss(log_probs, rewards, discount=1.0):
    if rewards.shape != log_probs.shape or len(rewards) == 1:
        raise ValueError("(N, H) each, with N >= 2")
    with torch.no_grad():
        columns, g = [], 0.0
        for r in rewards.unbind(1)[::-1]:
            g = r + discount * g
            columns.insert(0, g)
        g = torch.stack(columns, 1)
        # G - mean of the others = (G - mean of all) * N / (N - 1).
        weight = (g - g.mean(0)) / (len(g) - 1)
    return -torch.einsum("nh,nh->", log_probs, weight)


class _Learner(torch.nn.Module):
    """A module whose parameters are the dict's, to train by functional_call."""

    def __init__(self, loss, params):
        super().__init__()
        self.loss, self.names = loss, list(params)
        self.values = torch.nn.ParameterList(
            p.detach().clone() for p in params.values()
        )

    def forward(self, x, y):
        return self.loss(dict(zip(self.names, self.values, strict=True)), x, y)


def bug_hunt(loss, params, batches, inner_lr, outer_lr, steps):
    learner, values = _Learner(loss, params), []
    for support, query in batches:
        queries = []
        for t in range(len(support[0])):
            fast = dict(learner.named_parameters())
            for _ in range(steps):
                inner = functional_call(learner, fast, tuple(d[t] for d in support))
                moves = torch.autograd.grad(inner, fast.values(), create_graph=True)
                fast = {
                    k: p - inner_lr * g
                    for (k, p), g in zip(fast.items(), moves, strict=True)
                }
            queries.append(functional_call(learner, fast, tuple(d[t] for d in query)))
        learner.zero_grad()
        values.append(torch.stack(queries).mean())
        values[-1].backward()
        for p in learner.parameters():
            p.data.sub_(p.grad, alpha=outer_lr)
    after = dict(zip(learner.names, learner.values, strict=True))
    return after, values
