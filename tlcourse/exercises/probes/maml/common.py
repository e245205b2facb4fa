"""What all of this chapter's probes use: parameters by name, tasks, and a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.exercises.spec import Limits

Params = dict[str, Tensor]

# A first use of torch.func in an answer may load half of torch.
SLOW_IMPORT = Limits(seconds=30.0)
# What the package has of this chapter; nothing of it may do a learner's work.
FORBID = tuple(
    f"tlcourse.meta.{name}"
    for name in (
        "inner_step",
        "adapt_params",
        "adaptation_curve",
        "anil_params",
        "maml_grad",
        "fomaml_grad",
        "reptile_update",
        "meta_train",
        "rl_adapt",
        "rl_maml_grad",
        "rl_inner_loss",
        "returns_to_go",
        "advantages",
        "dice_loss",
        "policy_gradient.leave_one_out",
        "inner_steps.sgd_step",
        "inner_steps.graph_step",
        "inner_steps.steps_of_one_task",
        "maml._looped",
        "maml._batched",
    )
)

_D, _H, _K = 3, 4, 3  # inputs, hidden units, classes
LINEAR = {"head.weight": (1, _D), "head.bias": (1,)}
NETWORK = {
    "body.weight": (_H, _D),
    "body.bias": (_H,),
    "head.weight": (1, _H),
    "head.bias": (1,),
}
NORMED = NETWORK | {"norm.weight": (_H,), "norm.bias": (_H,)}
CLASSIFIER = NETWORK | {"head.weight": (_K, _H), "head.bias": (_K,)}


def task_loss(params: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The loss of one task: squares for real ``y``, cross-entropy for classes.

    Without ``body.weight`` it is linear regression, a quadratic in the parameters.
    """
    z = x
    if "body.weight" in params:
        z = z @ params["body.weight"].T + params["body.bias"]
        if "norm.weight" in params:
            norm = params["norm.weight"], params["norm.bias"]
            z = F.layer_norm(z, z.shape[-1:], *norm)
        z = torch.tanh(z)
    out = z @ params["head.weight"].T + params["head.bias"]
    if y.is_floating_point():
        return (out - y).square().mean()
    return F.cross_entropy(out, y)


def draw(
    rng: np.random.Generator,
    role: str,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str = "float32",
    lead: tuple[int, ...] = (),
) -> dict[str, np.ndarray]:
    """Standard normal arrays under the names ``role[name]``."""
    return {
        f"{role}[{name}]": rng.normal(0, 1, lead + shape).astype(dtype)
        for name, shape in shapes.items()
    }


def data(
    rng: np.random.Generator,
    shapes: Mapping[str, tuple[int, ...]],
    size: tuple[int, ...],
    dtype: str = "float32",
) -> tuple[np.ndarray, np.ndarray]:
    """Samples ``x`` of shape ``size + (3,)``, and their ``y``."""
    x = rng.normal(0, 1, (*size, _D)).astype(dtype)
    if shapes is CLASSIFIER:
        return x, rng.integers(0, _K, size)
    return x, (2 * rng.normal(0, 1, (*size, 1)) + x[..., :1]).astype(dtype)


def as_dict(value: Any, what: str) -> Mapping[str, Any]:
    """The value, if it is a dict; else an error that a learner understands."""
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"{what} must be a dict by name, got {type(value).__name__}.")


def as_pair(value: Any, what: str) -> tuple[Any, Any]:
    """The value, if it is a pair; else an error that a learner understands."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return value[0], value[1]
    raise TypeError(f"return the pair `{what}`, got {type(value).__name__}.")


def rate(rng: np.random.Generator, low: float, high: float) -> float:
    """A number with two decimals."""
    return float(np.round(rng.uniform(low, high), 2))


def is_what_it_was(
    now: Mapping[str, Any], before: Params, requires_grad: bool
) -> dict[str, bool]:
    """Whether a dict holds its tensors, and whether they want gradients as before."""
    same = all(now.get(name) is p for name, p in before.items())
    return {
        "the dict holds what it held": same and len(now) == len(before),
        "requires_grad is what it was": all(
            p.requires_grad == requires_grad for p in before.values()
        ),
    }


def listed(names: Mapping[str, Any]) -> str:
    """Names in one line, sorted: the order of a dict is not asked for."""
    return ", ".join(sorted(map(str, names)))
