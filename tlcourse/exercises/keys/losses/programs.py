"""Chapter 02: evaluation and the bug hunt, right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.spec import Case, Key, Mutant, Property

_Batches = Iterable[tuple[Tensor, Tensor]]
_Result = tuple[float, float]
_Data = tuple[Tensor, Tensor]


def _count(model: nn.Module, batches: _Batches) -> _Result:
    """Mean loss and accuracy over samples, in whatever mode the model is."""
    loss, right, n = 0.0, 0, 0
    for x, y in batches:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        right += int((logits.argmax(1) == y).sum())
        n += len(y)
    return loss / n, right / n


def _put_back(modes: Mapping[nn.Module, bool]) -> None:
    for module, mode in modes.items():
        module.training = mode


def _modes(model: nn.Module) -> dict[nn.Module, bool]:
    return {module: module.training for module in model.modules()}


def _evaluate(model: nn.Module, batches: _Batches) -> _Result:
    modes = _modes(model)
    model.eval()
    with torch.no_grad():
        result = _count(model, batches)
    _put_back(modes)
    return result


@torch.no_grad()
def _train_mode(model: nn.Module, batches: _Batches) -> _Result:
    modes = _modes(model)
    model.train()
    result = _count(model, batches)
    _put_back(modes)
    return result


def _batch_means(model: nn.Module, batches: _Batches) -> _Result:
    results = [_evaluate(model, [batch]) for batch in batches]
    loss, accuracy = (sum(part) / len(part) for part in zip(*results, strict=True))
    return loss, accuracy


def _left_in_eval(model: nn.Module, batches: _Batches) -> _Result:
    result = _evaluate(model, batches)
    model.eval()
    return result


def _always_train(model: nn.Module, batches: _Batches) -> _Result:
    result = _evaluate(model, batches)
    model.train()
    return result


def _only_the_root(model: nn.Module, batches: _Batches) -> _Result:
    mode = model.training
    result = _evaluate(model, batches)
    model.train(mode)
    return result


def _builds_graph(model: nn.Module, batches: _Batches) -> _Result:
    modes = _modes(model)
    model.eval()
    result = _count(model, batches)
    _put_back(modes)
    return result


evaluate = Key(
    reference=_evaluate,
    mutants=(
        Mutant(
            "train_mode",
            _train_mode,
            "The model was evaluated in train mode: dropout throws features away, and "
            "BatchNorm uses, and changes, the statistics. Call model.eval() first.",
        ),
        Mutant(
            "mean_of_batch_means",
            _batch_means,
            "You average the batches' means, so a sample in a small batch weighs more. "
            "Sum over samples and divide by their number once.",
        ),
        Mutant(
            "left_in_eval_mode",
            _left_in_eval,
            "The model is left in eval mode; the training that goes on afterwards has "
            "no dropout and a fixed BatchNorm. Put the modes back.",
        ),
        Mutant(
            "always_train",
            _always_train,
            "You end with model.train(), whatever the mode was before. Remember each "
            "module's `training` and put that back.",
        ),
        Mutant(
            "only_the_root",
            _only_the_root,
            "model.train(mode) sets all submodules to one mode, and a BatchNorm frozen "
            "in eval mode wakes up. Remember and restore every module's own flag.",
        ),
        Mutant(
            "builds_graph",
            _builds_graph,
            "Gradients were on: every batch builds a graph for nothing, which costs "
            "memory and time. Run the model under torch.no_grad().",
        ),
    ),
)

_WIDTH = 32


def _body(flat: int) -> nn.Module:
    """Two convolutions, each with a pooling, and a projection."""
    first = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    last = nn.Flatten(), nn.Linear(flat, _WIDTH), nn.ReLU()
    return nn.Sequential(*first, *second, *last)


def _train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float) -> None:
    weights = list(model.parameters())
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(16):
            loss = F.cross_entropy(model(x[index]), y[index])
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, gradient in zip(weights, gradients, strict=True):
                    w -= lr * gradient


def _hunt(
    source: _Data,
    target: _Data,
    flat: int = 16 * 3 * 3,
    width: int = _WIDTH,
    mean: Callable[[nn.Module, _Batches], _Result] = _count,
) -> tuple[nn.Module, nn.Module, nn.Module, float]:
    """The script of the bug hunt; each argument can put one bug back in."""
    body, old_head = _body(flat), nn.Linear(_WIDTH, 4)
    _train(nn.Sequential(body, old_head), *source, epochs=20, lr=0.1)
    x, y = target
    with torch.no_grad():
        z = body(x).reshape(-1, width)  # (n, 32)
    head = nn.Linear(width, 2)
    _train(head, z, y, epochs=40, lr=0.01)
    loss, _ = mean(head, zip(z.split(16), y.split(16), strict=False))
    return body, old_head, head, loss


def _correct(source: _Data, target: _Data) -> Any:
    return _hunt(source, target)


def _missing_import(source: _Data, target: _Data) -> Any:
    functional.relu(source[0])  # noqa: F821, never imported
    return _hunt(source, target)


def _poolings_forgotten(source: _Data, target: _Data) -> Any:
    return _hunt(source, target, flat=16 * 12 * 12)


def _wrong_width(source: _Data, target: _Data) -> Any:
    return _hunt(source, target, width=2 * _WIDTH)


def _unequal_batches(source: _Data, target: _Data) -> Any:
    return _hunt(source, target, mean=_batch_means)


def _is_mean_over_samples(seen: Mapping[str, Any], case: Case) -> bool:
    return abs(seen["reported"] - seen["loss"]) < 1e-3 + 1e-3 * abs(seen["loss"])


bug_hunt = Key(
    reference=_correct,
    properties=(
        Property(
            "pretrained",
            lambda seen, case: seen["source accuracy"] >= 0.8,
            "After pre-training the network does not solve the source task. Is it "
            "trained on all of the source, and left alone afterwards?",
        ),
        Property(
            "body_from_source",
            lambda seen, case: seen["source moves the body"],
            "Other source labels leave the body as it is: it was never trained. "
            "Pre-training moves the weights of the body and of the old head.",
            group="batches of one size",
        ),
        Property(
            "body_left_alone",
            lambda seen, case: not seen["target moves the body"],
            "Other target labels change the body: it was trained on the target, too. "
            "Compute the features once, and train only the new head on them.",
            group="batches of one size",
        ),
        Property(
            "tuned",
            lambda seen, case: seen["target accuracy"] >= 0.8,
            "The new head does not solve the target task. Is it trained on what "
            "body(x) gives, one row per picture?",
        ),
        Property(
            "mean_over_samples",
            _is_mean_over_samples,
            "The loss that is returned is not the mean over all target samples.",
        ),
    ),
    mutants=(
        Mutant(
            "missing_import",
            _missing_import,
            "A name is used that was never imported; the error says which. Import it "
            "at the top of the cell.",
        ),
        Mutant(
            "poolings_forgotten",
            _poolings_forgotten,
            "The shapes of a matrix product do not fit. Each of the two poolings "
            "halves both sides: a 12 x 12 picture leaves them as 3 x 3, so a flattened "
            "sample has 16 * 3 * 3 numbers.",
        ),
        Mutant(
            "wrong_width",
            _wrong_width,
            "The features are reshaped to rows of the wrong width: two samples share a "
            "row, there are half as many rows as labels, and training goes on with the "
            "wrong labels. Use the width that the body returns.",
        ),
        Mutant(
            "mean_of_batch_means",
            _unequal_batches,
            "The last batch, which is smaller, has the wrong weight: every sample "
            "counts alike. Weigh each batch's mean by its number of samples: "
            "sum(loss * len(y)) / n.",
        ),
    ),
)
