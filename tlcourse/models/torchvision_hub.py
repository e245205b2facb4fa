"""Torchvision's models by name, from torch's cache; fetched only when asked."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from tlcourse.models.heads import replace_head
from tlcourse.models.missing import ModelMissing


def torchvision_names() -> list[str]:
    """Every model that the installed torchvision builds by name."""
    import torchvision

    return torchvision.models.list_models()


def load_torchvision(
    name: str, weights: str | None, num_classes: int | None, download: bool
) -> nn.Module:
    """Build ``name``; see :func:`tlcourse.models.load` for the arguments."""
    import torchvision

    classifiers = torchvision.models.list_models(module=torchvision.models)
    if num_classes is not None and name not in classifiers:
        raise ValueError(
            f"{name!r} is not a plain classifier, so num_classes cannot replace its "
            "head; load it without num_classes and change its predictor."
        )
    chosen = None if weights is None else _entry(name, weights)
    if chosen is not None:
        _require_file(name, chosen, download)
    options: dict[str, Any] = {"weights": chosen, "progress": False}
    builder = torchvision.models.get_model_builder(name)
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None  # its default would fetch a backbone
    try:
        model = builder(**options)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if chosen is None:
            raise
        raise ValueError(
            f"the file {_file_of(chosen)} does not hold the weights of {name!r} "
            f"({_first_line(error)}); delete it and provide it again."
        ) from error
    if num_classes is not None:
        replace_head(model, num_classes)
    return model.eval()


def preprocessing(name: str, weights: str = "imagenet") -> Callable[[Any], Any]:
    """The transform that a torchvision model's weights were trained with.

    Resizing, cropping and normalising as the weights object itself says; needs no
    file and no network. Takes a PIL image or a tensor ``(..., 3, h, w)`` in [0, 1].

    Args:
        name: a torchvision model, for example ``resnet18``.
        weights: ``imagenet`` (the best set), or a name such as ``IMAGENET1K_V1``.

    Raises:
        ValueError: an unknown model, or one without such weights.
    """
    if name not in torchvision_names():
        raise ValueError(
            f"{name!r} is not a torchvision model; only these carry their transforms."
        )
    return _entry(name, weights).transforms()


def _entry(name: str, weights: str) -> Any:
    """The weights object: the best one for ``imagenet``, else by its name."""
    import torchvision

    entries = torchvision.models.get_model_weights(name)
    known = [entry.name for entry in entries]
    if weights in known:
        return entries[weights]
    general = weights == "default" or (
        weights == "imagenet" and any("IMAGENET" in entry for entry in known)
    )
    if general and known:
        return entries.DEFAULT
    raise ValueError(
        f"{name!r} has no weights {weights!r}; known: {', '.join(known) or 'none'}, "
        "or None for random weights."
    )


def _file_of(entry: Any) -> Path:
    """Where torch keeps the file: ``TORCH_HOME`` is honoured."""
    return Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[-1]


def _require_file(name: str, entry: Any, download: bool) -> None:
    """Be sure that the weights are in the cache, fetching them only if told to."""
    file, reason = _file_of(entry), "nothing is fetched unless you ask"
    if file.exists():
        return
    if download:
        try:
            entry.get_state_dict(progress=False, check_hash=True)
            return
        except (URLError, OSError) as error:
            reason = f"fetching failed: {_first_line(error)}"
    raise ModelMissing(
        f"the weights of {name!r} are not on this computer ({reason}). Wanted:\n"
        f"  {file}\n"
        "Ways to provide them:\n"
        f"  models.load({name!r}, download=True) fetches {entry.url}\n"
        "  copy the file from another computer to the place above\n"
        "  set TORCH_HOME to a folder with hub/checkpoints in it\n"
        f"  models.load({name!r}, weights=None) starts from random weights"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
