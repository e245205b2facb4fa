"""Chapter 02: what is asked about evaluation and training scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.containing import reseed
from tlcourse.exercises.spec import Case, Limits, Probe

_FEATURES, _CLASSES = 6, 3
_GENERATOR = "batches of 5, 2 and 9, from a generator"


class _Watched(nn.Module):
    """A small classifier that notes whether gradients were on when it ran."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(_FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, _CLASSES)
        for tensor in [*self.parameters(), self.body[1].running_mean]:
            tensor.data = torch.randn(tensor.shape, generator=generator)
        self.body[1].running_var += torch.rand(8, generator=generator)
        self.grad_was_on = False

    def forward(self, x: Tensor) -> Tensor:
        self.grad_was_on |= torch.is_grad_enabled()
        return self.head(self.drop(self.body(x)))


def _make_evaluate(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, sizes: list[int], mode: str = "train") -> Case:
        n = sum(sizes)
        inputs = {
            "x": rng.normal(0, 1, (n, _FEATURES)).astype(np.float32),
            "y": rng.integers(0, _CLASSES, n),
            "sizes": sizes,
            "mode": mode,
            "seed": int(rng.integers(2**31)),
        }
        return Case(group, about, inputs)

    modes = "every part gets its mode back"
    return [
        case("mean over samples", "batches of 8, 8 and 3", [8, 8, 3]),
        case("mean over samples", _GENERATOR, [5, 2, 9]),
        case("mean over samples", "one batch", [7]),
        case("leaves no trace", "BatchNorm statistics and gradients", [6, 6]),
        case(modes, "the model is in train mode", [6, 6]),
        case(modes, "the model is in eval mode", [6, 6], "eval"),
        case(modes, "in train mode, two of its parts in eval mode", [6, 6], "frozen"),
    ]


def _observe_evaluate(candidate: Callable[..., Any], case: Case) -> Mapping[str, Any]:
    given, model = case.inputs, _Watched(case.inputs["seed"])
    model.train(given["mode"] != "eval")
    if given["mode"] == "frozen":
        model.body[1].eval()
        model.drop.eval()
    model.body[0].weight.requires_grad_(False)
    x, y = (torch.from_numpy(given[name]) for name in ("x", "y"))
    sizes = given["sizes"]
    batches = zip(x.split(sizes), y.split(sizes), strict=True)
    with torch.enable_grad():  # puts the mode back, whatever the candidate leaves
        loss, accuracy = candidate(
            model, batches if case.about == _GENERATOR else list(batches)
        )
        grad_is_on = torch.is_grad_enabled()
    seen: dict[str, Any] = {"loss": float(loss)}  # without it, no group is passed
    if case.group == "mean over samples":
        return seen | {"accuracy": float(accuracy)}
    if case.group == "leaves no trace":
        trained = [name for name, w in model.named_parameters() if w.requires_grad]
        return seen | {
            "running_mean": model.body[1].running_mean,
            "builds a graph": model.grad_was_on,
            "torch.is_grad_enabled() afterwards": grad_is_on,
            "parameters that require a gradient afterwards": ", ".join(trained),
        }
    return seen | {
        f"{name or 'model'}.training": m.training for name, m in model.named_modules()
    }


evaluate = Probe(
    id="losses.evaluate",
    title="An evaluation that is right",
    points=6,
    minutes=25,
    level="medium",
    hints=(
        "What in a network behaves differently in training? And does a batch of 3 "
        "weigh as much as a batch of 8?",
        "Remember every module's training flag, model.eval(), torch.no_grad(); sum the "
        "losses and the right answers over samples, divide both by n at the end; put "
        "the flags back.",
        "modes = {m: m.training for m in model.modules()}; model.eval(); under "
        "no_grad, for x, y in batches: z = model(x); "
        "total += F.cross_entropy(z, y, reduction='sum').item(); "
        "right += (z.argmax(1) == y).sum().item(); n += len(y). "
        "Then for m, mode in modes.items(): m.training = mode.",
    ),
    make=_make_evaluate,
    observe=_observe_evaluate,
    forbid=("tlcourse.training.evaluate", "tlcourse.training.predict"),
)

_SIDE = 12  # pixels of a side
_EQUAL = "batches of one size"


def _pictures(rng: np.random.Generator, quadrant: np.ndarray) -> np.ndarray:
    """A bright square in one quadrant of each picture, and noise."""
    x = rng.normal(0, 0.1, (len(quadrant), 1, _SIDE, _SIDE))
    for picture, q in zip(x, quadrant, strict=True):
        top, left = np.array(divmod(q, 2)) * (_SIDE // 2) + rng.integers(0, 3, 2)
        picture[0, top : top + 4, left : left + 4] += 1
    return x.astype(np.float32)


def _make_bug_hunt(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, mislabelled: int) -> Case:
        source_y, quadrant = rng.permutation(64) % 4, rng.permutation(n) % 4
        target_y = np.isin(quadrant, (1, 2)).astype(np.int64)  # which diagonal
        inputs = {"source_x": _pictures(rng, source_y), "source_y": source_y}
        inputs |= {"target_x": _pictures(rng, quadrant), "target_y": target_y}
        target_y[n - mislabelled :] = 1 - target_y[n - mislabelled :]
        return Case(group, about, inputs)

    return [
        case(_EQUAL, "48 target pictures, 16 in a batch", 48, 0),
        case(
            "a smaller last batch", "50 target pictures, the last 2 mislabelled", 50, 2
        ),
    ]


def _observe_bug_hunt(candidate: Callable[..., Any], case: Case) -> Mapping[str, Any]:
    given = {name: torch.from_numpy(array) for name, array in case.inputs.items()}
    source = given["source_x"], given["source_y"]
    x, y = given["target_x"], given["target_y"]
    body, old_head, head, loss = candidate(source, (x, y))
    with torch.no_grad():
        source_right = old_head(body(source[0])).argmax(1) == source[1]
        logits = head(body(x))
    seen = {
        "reported": float(loss),
        "loss": F.cross_entropy(logits, y),
        "source accuracy": source_right.float().mean(),
        "target accuracy": (logits.argmax(1) == y).float().mean(),
    }
    return seen | (_moved(candidate, source, (x, y)) if case.group == _EQUAL else {})


def _moved(
    candidate: Callable[..., Any],
    source: tuple[Tensor, Tensor],
    target: tuple[Tensor, Tensor],
) -> dict[str, bool]:
    """Whose labels change the body: small runs that differ in labels alone."""
    (x, y), (target_x, target_y) = ([part[:16] for part in d] for d in (source, target))

    def features(y: Tensor, target_y: Tensor) -> Tensor:
        reseed(0)
        body = candidate((x, y), (target_x, target_y))[0]
        with torch.no_grad():
            return body(x)

    first = features(y, target_y)
    others = {
        "source moves the body": features((y + 1) % 4, target_y),
        "target moves the body": features(y, 1 - target_y),
    }
    return {
        name: not torch.allclose(first, other, rtol=0, atol=1e-3)
        for name, other in others.items()
    }


bug_hunt = Probe(
    id="losses.bug_hunt",
    title="Bug hunt: pretrain, then train a new head",
    points=4,
    minutes=30,
    level="medium",
    kind="program",
    hints=(
        "Run it, and read the last line of each error: which name, which two numbers "
        "do not fit? When it runs: does every sample weigh the same in the result?",
        "Two poolings divide each side by 4. A row of features stays one row. "
        "The mean over samples is sum(batch mean * batch size) / n.",
        "from torch import nn; nn.Linear(16 * 3 * 3, 32); z has rows of 32, and so has "
        "the input of the new head; add loss.item() times the batch's length to a "
        "total and divide it by len(y).",
    ),
    make=_make_bug_hunt,
    observe=_observe_bug_hunt,
    limits=Limits(seconds=20.0),
    forgeable=True,
)
