"""A second right answer to each exercise, in another style than solutions/."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


def param_groups(model, lr, stages, factor):
    # One group per parameter: an optimiser does not mind.
    home = {}
    for place, stage in enumerate(stages):
        try:
            part = model.get_submodule(stage)
        except AttributeError as error:
            raise ValueError(f"no part {stage}") from error
        for parameter in part.parameters():
            home.setdefault(parameter, len(stages) - 1 - place)
    learning = [p for p in model.parameters() if p.requires_grad]
    if any(p not in home for p in learning):
        raise ValueError("a parameter is in no stage")
    return [{"params": iter([p]), "lr": lr * factor ** -home[p]} for p in learning]


class _Held:
    """A train() that does nothing to the module itself and its parts."""

    def __init__(self, module):
        self.module = module

    def __call__(self, mode=True):
        return self.module


def gradual_unfreeze(model, epoch, stages, every):
    if epoch < 0 or any(s not in dict(model.named_modules()) for s in stages):
        raise ValueError("epoch or stages")
    learning = tuple(stages)[-(1 + epoch // every) :]
    for module in model.modules():
        module.__dict__.pop("train", None)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(name.startswith(f"{s}.") for s in learning)
    for name, module in model.named_modules():
        above = any(f"{s}.".startswith(f"{name}.") for s in learning) or name == ""
        inside = any(f"{name}.".startswith(f"{s}.") for s in learning)
        if not above and not inside:
            module.training = False
            module.train = _Held(module)
    return learning


def warmup_cosine(step, total_steps, warmup_steps, peak, floor):
    if step < 0:
        raise ValueError("step")
    if warmup_steps > total_steps - 1:
        raise ValueError("warmup_steps")
    rise = min(1.0, (step + 1) / (warmup_steps + 1))
    if step <= warmup_steps:
        return rise * peak
    way = max(1, total_steps - 1 - warmup_steps)
    u = min(1.0, (step - warmup_steps) / way)
    weight = math.cos(math.pi * u / 2) ** 2
    return torch.tensor(weight * peak + (1 - weight) * floor, dtype=torch.float64)


def lp_ft(model, head, x, y, probe_lr, lr, probe_steps, steps):
    # The probe sees cached features; the second phase is written out.
    top = model.get_submodule(head)
    found = []
    handle = top.register_forward_hook(lambda m, args, out: found.append(args[0]))
    model.eval()
    with torch.no_grad():
        model(x)
    handle.remove()

    def step(forward, weights, rate):
        for w in weights:
            w.grad = None
        F.cross_entropy(forward(), y).backward()
        for w in weights:
            w.data.sub_(rate * w.grad)
            w.grad = None

    for _ in range(probe_steps):
        step(lambda: top(found[0]), list(top.parameters()), probe_lr)
    model.train()
    for _ in range(steps):
        step(lambda: model(x), [p for p in model.parameters() if p.requires_grad], lr)
    return model.eval()


def ewc_penalty(params, source, fisher, strength):
    if not strength >= 0:
        raise ValueError("strength")
    both = [
        (w.flatten(), source[n].data.flatten(), fisher[n].data.flatten())
        for n, w in params.items()
        if n in source.keys() & fisher.keys()
        and tuple(source[n].shape) == tuple(fisher[n].shape) == tuple(w.shape)
    ]
    w, anchor, weight = (torch.cat(column) for column in zip(*both, strict=True))
    gap = w - anchor
    return 0.5 * strength * torch.dot(weight * gap, gap)


def wise_ft(source_state, tuned_state, alpha):
    if alpha < 0 or alpha > 1 or source_state.keys() ^ tuned_state.keys():
        raise ValueError("alpha or names")
    mixed = OrderedDict()
    for name in sorted(tuned_state):
        a, b = source_state[name], tuned_state[name]
        if a.size() != b.size():
            raise ValueError(name)
        mixed[name] = torch.lerp(a, b, alpha) if b.is_floating_point() else b + 0
        if b.dtype == torch.bool:
            mixed[name] = b.logical_not().logical_not()
    return mixed


class lora_linear(nn.Module):  # noqa: N801
    """The frozen weights are buffers of its own; the update is one matrix."""

    def __init__(self, linear, rank, alpha):
        nn.Module.__init__(self)
        weight = linear.weight
        if not 0 < rank <= min(weight.shape):
            raise ValueError("rank")
        self.register_buffer("weight", weight.detach().clone())
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("bias", bias)
        self.alpha, self.rank = alpha, rank
        self.lora_a = nn.Parameter(torch.empty_like(weight[:rank]).uniform_(-0.1, 0.1))
        self.lora_b = nn.Parameter(torch.zeros_like(weight[:, :1]).repeat(1, rank))

    def _whole(self):
        return self.weight + self.lora_b.mm(self.lora_a) * self.alpha / self.rank

    def forward(self, x):
        return F.linear(x, self._whole(), self.bias)

    def merge(self):
        merged = nn.Linear(*self.weight.shape[::-1], bias=self.bias is not None)
        merged.weight = nn.Parameter(self._whole().detach())
        if self.bias is not None:
            merged.bias = nn.Parameter(self.bias.clone())
        return merged


def bug_hunt(model, x, y, x_val, y_val, num_classes, epochs, batch_size, rate, augment):
    model.head = nn.Linear(model.head.weight.shape[1], num_classes)
    weights = [*model.body.parameters(), *model.head.parameters()]
    rates = [rate(t) for t in range(epochs * math.ceil(len(x) / batch_size) + 1)]
    kept = []
    for _ in range(epochs):
        model.train()
        model.stem.eval()
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            loss = F.cross_entropy(model(augment(x[rows])), y[rows])
            lr = rates.pop(0)
            gradients = torch.autograd.grad(loss, weights)
            for w, g in zip(weights, gradients, strict=True):
                w.data -= lr * g
        model.eval()
        right = 0
        with torch.no_grad():
            for part, labels in zip(x_val.split(7), y_val.split(7), strict=True):
                right += int((model(part).argmax(1) == labels).sum())
        state = {k: v.clone() for k, v in model.state_dict().items()}
        kept.append((right / len(x_val), state))
    accuracy, state = max(kept, key=lambda pair: pair[0])
    model.load_state_dict(state)
    return accuracy
