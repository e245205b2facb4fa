"""A second right answer to each exercise, in another style than solutions/."""

import contextlib

import torch
from torch import nn


def _rest(model, names):
    inside = [f"{name}." for name in names]
    for name, module in model.named_modules():
        if name not in names and not any(name.startswith(start) for start in inside):
            yield module


def freeze(model, except_for=()):
    for name in except_for:
        try:
            model.get_submodule(name)
        except AttributeError as error:
            raise ValueError(f"no part {name}") from error

    frozen = list(_rest(model, except_for))
    switch = model.train

    # One function at the top: everything follows, then the frozen part goes back.
    def train(mode=True):
        switch(mode)
        for module in frozen:
            module.training = False
        return model

    model.train = train
    for module in frozen:
        module.training = False
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
    return model


@contextlib.contextmanager
def _borrowed(model):
    training = {m for m in model.modules() if m.training}
    model.eval()
    try:
        yield
    finally:
        for m in model.modules():
            m.training = m in training


def extract_features(model, x, layer, batch_size):
    found = {}
    module = dict(model.named_modules())[layer]

    def keep(module, args, output):
        found["z"] = output

    def one(batch):
        model(batch)
        z = found.pop("z")
        return z if z.dim() == 2 else z.flatten(2).mean(2)

    with _borrowed(model), contextlib.ExitStack() as stack:
        handle = module.register_forward_hook(keep)
        stack.callback(handle.remove)
        with torch.inference_mode():
            return torch.vstack([one(batch) for batch in torch.split(x, batch_size)])


def ridge_probe(z, y, num_classes, penalty):
    if not penalty > 0:
        raise ValueError("penalty")
    d = z.shape[1]
    # Normal equations of the whole problem, with a zero penalty for the bias.
    a = torch.cat([z, torch.ones(len(z), 1)], 1).double()
    ridge = torch.full((d + 1,), float(penalty), dtype=torch.float64)
    ridge[-1] = 0
    t = torch.eye(num_classes, dtype=torch.float64)[y]
    solution = torch.linalg.lstsq(a.T @ a + torch.diag(ridge), a.T @ t).solution
    return solution[:d].T.float(), solution[d].float()


def knn_predict(z_train, y_train, z_test=None, k=5):
    others = z_test is None
    voters = len(z_train) - int(others)
    if k < 1 or k > voters:
        raise ValueError(f"k in 1..{voters}")
    queries = z_train if others else z_test
    answers = []
    for i, q in enumerate(queries):
        cosine = torch.cosine_similarity(q[None], z_train, dim=1)
        if others:
            cosine[i] = -2
        near = y_train[cosine.argsort(descending=True)[:k]]
        labels, counts = near.unique(return_counts=True)
        tied = labels[counts == counts.max()]
        first = torch.isin(near, tied).nonzero()[0, 0]
        answers.append(near[first])
    return torch.stack(answers)


def linear_cka(a, b):
    n = len(a)
    if n != len(b) or a.std(0).max() == 0 or b.std(0).max() < 1e-6:
        raise ValueError("not comparable")
    centre = torch.eye(n) - 1 / n
    k, m = centre @ a @ a.T @ centre, centre @ b @ b.T @ centre
    return (k * m).sum() / torch.sqrt((k * k).sum() * (m * m).sum())


def replace_head(model, num_classes):
    def last_linear(module):
        for name, child in reversed(list(module.named_children())):
            if isinstance(child, nn.Linear):
                return module, name
            deeper = last_linear(child)
            if deeper:
                return deeper
        return None

    found = last_linear(model)
    if not found:
        raise ValueError("no linear layer")
    owner, name = found
    old = owner._modules[name]
    fresh = old.weight.new_empty(num_classes, old.in_features)
    head = nn.Linear(1, 1).to(old.weight)
    head.in_features, head.out_features = old.in_features, num_classes
    head.weight = nn.Parameter(nn.init.xavier_uniform_(fresh))
    head.bias = nn.Parameter(old.weight.new_zeros(num_classes))
    owner._modules[name] = head
    return model


def bug_hunt(backbone, x_train, y_train, x_test, num_classes):
    with _borrowed(backbone), torch.no_grad():
        train, test = backbone(x_train), backbone(x_test)
    centre, spread = train.mean(0), train.std(0) + 1e-6
    train, test = ((z - centre) / spread for z in (train, test))
    t = torch.eye(num_classes)[y_train]
    gram = train.T @ train + torch.eye(train.shape[1])
    return test @ torch.linalg.inv(gram) @ train.T @ (t - t.mean(0)) + t.mean(0)
