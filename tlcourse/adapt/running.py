"""Run one method on one pair of domains, everything else being equal."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import time
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.adapt import methods
from tlcourse.adapt.method import Method
from tlcourse.adapt.normalising import adapt_batchnorm, has_statistics
from tlcourse.adapt.training import Result, train
from tlcourse.arguments import positive, whole
from tlcourse.evaluation import labelled

METHODS: dict[str, type[Method]] = methods.found()


def run(
    method: str | Method,
    source: Any,
    target: Any,
    seed: int = 0,
    *,
    epochs: int = 12,
    lr: float = 0.05,
    batch_size: int = 64,
    own_statistics: bool = True,
    model: nn.Module | None = None,
    width: int = 16,
    progress: bool = True,
    **settings: Any,
) -> Result:
    """Train a network on a labelled source and an unlabelled target.

    Only ``target.x`` is read: a sealed target is welcome, and evaluation is left to
    the caller (``result.predict``, after ``target.unseal(reason)``). With equal
    seeds all methods start from the same weights and see the same batches in the same
    order; the same call gives the same model. The caller's random state is neither
    used nor changed. Chapter 07 compares the methods.

    All defaults, here and in the methods, were chosen on one development task, Latin
    letters from DejaVuSans to STIXGeneralItalic (16 pixels, 80 per class, seeds 100 to
    102), with its target labels; other tasks had no say.

    Args:
        method: a name in :data:`METHODS`, or an instance of a method.
        source: labelled ``Dataset`` or pair ``(x, y)``.
        target: ``Dataset``, sealed or not, with the source's classes; or a tensor x.
        seed: whole number, at least 0.
        epochs: passes over the source.
        lr: first learning rate of SGD; it falls to 0 along a cosine.
        batch_size: samples of each domain per step.
        own_statistics: for methods that see the target in training. True: each domain
            passes BatchNorm in batches of its own, and the model ends with the
            target's statistics (:func:`~tlcourse.adapt.adapt_batchnorm`). False: one
            mixed batch, mixed running statistics.
        model: starting point with ``features`` and ``head``; it is copied. By default
            a fresh ``small_resnet`` of this ``width``.
        width: channels of the default network's first stage.
        progress: show a bar on stdout when the run takes longer than 2 s.
        **settings: fields of the method, for example ``strength=0.5``.

    Raises:
        ValueError: an unknown method or setting, data that do not fit together, or a
            loss that is no longer finite.
    """
    for name, value, least in [
        ("seed", seed, 0),
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 2),
        ("width", width, 1),
    ]:
        whole(name, value, least)
    positive("lr", lr)
    chosen = _method(method, settings)
    x, y = labelled(source, "source")
    target_x = _inputs(source, x, target)
    start = time.perf_counter()
    where = _place(model)
    with torch.random.fork_rng([where] if where.type == "cuda" else []):
        torch.manual_seed(seed)
        net = _network(model, source, x, y, width).to(where)
        pair, target_x = (x.to(where), y.to(where)), target_x.to(where)
        history = train(
            chosen,
            net,
            pair,
            target_x,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            own_statistics=own_statistics,
            seed=seed,
            progress=progress,
        )
        if (
            chosen.sees_target
            and own_statistics
            and any(map(has_statistics, net.modules()))
        ):
            adapt_batchnorm(net, target_x)
        chosen.finish(net.eval(), pair, target_x, seed)
    return Result(net.eval(), chosen, seed, history, time.perf_counter() - start)


def _method(method: str | Method, settings: dict[str, Any]) -> Method:
    """An instance of the method with its settings."""
    if isinstance(method, Method):
        if settings:
            raise ValueError(
                f"settings {sorted(settings)} go into the method itself: "
                f"{type(method).__name__}(...)."
            )
        return copy.deepcopy(method)
    if method not in METHODS:
        near = difflib.get_close_matches(str(method), METHODS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"There is no method {method!r}. {hint}Known: {', '.join(METHODS)}."
        )
    known = [f.name for f in dataclasses.fields(METHODS[method]) if f.init]
    for name in settings:
        if name not in known:
            raise ValueError(
                f"{method!r} has no setting {name!r}; it has: "
                f"{', '.join(known) or 'none'}."
            )
    return METHODS[method](**settings)


def _inputs(source: Any, x: Tensor, target: Any) -> Tensor:
    """The target's inputs, checked against the source's."""
    inputs = getattr(target, "x", target)
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        kind = getattr(inputs, "dtype", type(inputs).__name__)
        raise ValueError(
            f"target must be a Dataset or a floating tensor x, got {kind}; labels are "
            "not wanted."
        )
    if inputs.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"source inputs are {tuple(x.shape[1:])} and target inputs "
            f"{tuple(inputs.shape[1:])}; load both with the same size and channels."
        )
    for name, values in (("source", x), ("target", inputs)):
        if len(values) < 2:
            raise ValueError(f"{name} needs at least two samples, got {len(values)}.")
        if not torch.isfinite(values).all():
            raise ValueError(f"the inputs of {name} hold NaN or infinity.")
    ours, theirs = getattr(source, "classes", None), getattr(target, "classes", None)
    if ours and theirs and tuple(ours) != tuple(theirs):
        raise ValueError(
            f"source has classes {_first(ours)} and target {_first(theirs)}; these "
            "methods need the same classes in the same order on both sides."
        )
    return inputs


def _first(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:4])}{', ..' if len(classes) > 4 else ''}"


def _place(model: nn.Module | None) -> torch.device:
    """The given model's device, else the course's."""
    import tlcourse

    return tlcourse.device() if model is None else next(model.parameters()).device


def _network(
    model: nn.Module | None, source: Any, x: Tensor, y: Tensor, width: int
) -> nn.Module:
    """A copy of the given network, or a fresh one that fits the source."""
    num_classes = len(getattr(source, "classes", ())) or int(y.max()) + 1
    if model is None:
        from tlcourse import models

        if x.ndim != 4:
            raise ValueError(
                f"inputs of shape {tuple(x.shape[1:])} need a model of yours: pass "
                "model=..., for example models.Mlp."
            )
        return models.small_resnet(num_classes, x.shape[1], width)
    if not hasattr(model, "features") or not isinstance(
        getattr(model, "head", None), nn.Linear
    ):
        raise ValueError("model needs features(x) and a linear head; see small_resnet.")
    if model.head.out_features < num_classes:
        raise ValueError(
            f"the model has {model.head.out_features} outputs and the source "
            f"{num_classes} classes; use models.replace_head."
        )
    return copy.deepcopy(model)
