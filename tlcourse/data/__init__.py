"""Data of the course: ``load(name, ...)`` gives a :class:`Dataset` with its card.

Most families come with installed packages and need no network. The hub families
read files that you provide, or fetch them when you say ``download=True``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlcourse.data.dataset import Dataset
    from tlcourse.data.sealed import Peek

_LOADERS = {
    "glyphs": ("glyphs", "load_glyphs"),
    "digits": ("tables", "load_digits"),
    "textures": ("pictures", "load_textures"),
    "faces": ("pictures", "load_faces"),
    "photos": ("pictures", "load_photos"),
    "medical": ("pictures", "load_medical"),
    "tumours": ("tables", "load_tumours"),
    "diabetes": ("tables", "load_diabetes"),
    "wine": ("tables", "load_wine"),
    "docs": ("docs", "load_docs"),
    "mnist": ("hub", "load_mnist"),
    "fashion_mnist": ("hub", "load_fashion_mnist"),
    "usps": ("hub", "load_usps"),
    "cifar10": ("hub", "load_cifar10"),
    "omniglot": ("hub", "load_omniglot"),
    "flowers102": ("hub", "load_flowers102"),
    "imagefolder": ("folders", "load_imagefolder"),
    "huggingface": ("huggingface", "load_huggingface"),
}
_HOMES = {
    "Card": "card",
    "DataMissing": "missing",
    "Dataset": "dataset",
    "Peek": "sealed",
    "Sealed": "sealed",
    "SealedError": "sealed",
    "faces_of": "glyph_faces",
    "jitter_images": "jitter",
    "scripts": "glyph_faces",
}

__all__ = sorted([*_HOMES, "load", "names", "oracle_peeks"])


def names() -> tuple[str, ...]:
    """Names that :func:`load` knows, the offline families first."""
    return tuple(_LOADERS)


def load(name: str, **options: Any) -> Dataset:
    """Load a data set by name.

    Args:
        name: one of :func:`names`.
        **options: what the family accepts, for example ``script="greek"`` for
            ``glyphs`` or ``size=16`` for ``digits``.

    Raises:
        ValueError: an unknown name or option, or a value the family refuses.
        DataMissing: files of a hub family are not on this computer.
    """
    if name not in _LOADERS:
        near = difflib.get_close_matches(str(name), _LOADERS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"There is no data set {name!r}. {hint}Known: {', '.join(_LOADERS)}."
        )
    module, function = _LOADERS[name]
    loader = getattr(importlib.import_module(f"tlcourse.data.{module}"), function)
    parameters = inspect.signature(loader).parameters
    for option in options:
        if option not in parameters:
            near = difflib.get_close_matches(option, parameters, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"{name!r} has no option {option!r}. {hint}"
                f"It accepts: {', '.join(parameters) or 'no options'}."
            )
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"{name!r} needs the option {option}=...")
    return loader(**options)


def oracle_peeks() -> tuple[Peek, ...]:
    """Every time sealed labels were opened in this process, oldest first."""
    from tlcourse.data.sealed import recorded_peeks

    return recorded_peeks()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"tlcourse.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tlcourse.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
