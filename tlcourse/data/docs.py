"""``docs``: sentences of the documentation of installed libraries, by topic."""

from __future__ import annotations

import importlib
import inspect
from functools import lru_cache, partial

import numpy as np
import torch

from tlcourse.arguments import whole
from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.docs_text import distinct, plain_sentences

# Topics on which every library has enough to say: signal and special are too thin
# in torch.
_TOPICS = ("fft", "linalg", "optim", "sparse", "stats")
# Where each library writes about each topic. NumPy is read with SciPy: alone it
# covers three of the topics.
_MODULES = {
    "scipy": {
        "fft": ("numpy.fft", "scipy.fft"),
        "linalg": ("numpy.linalg", "scipy.linalg"),
        "optim": ("scipy.optimize",),
        "sparse": ("scipy.sparse", "scipy.sparse.linalg", "scipy.sparse.csgraph"),
        "stats": ("numpy.random", "scipy.stats"),
    },
    "torch": {
        "fft": ("torch.fft", "torch.functional:stft istft"),
        "linalg": ("torch.linalg", "torch:lu qr svd pinverse matrix_power cholesky"),
        "optim": ("torch.optim", "torch.optim.lr_scheduler", "torch.optim.swa_utils"),
        "sparse": (
            "torch.sparse",
            "torch:sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor hspmm smm "
            "sparse_bsr_tensor sparse_bsc_tensor sparse_compressed_tensor sspaddmm",
            "torch.Tensor:to_sparse to_sparse_csr to_sparse_csc to_sparse_bsr coalesce "
            "to_sparse_bsc sparse_mask sparse_resize_ sparse_dim dense_dim to_dense "
            "is_coalesced crow_indices col_indices ccol_indices row_indices indices",
        ),
        "stats": ("torch.distributions",),
    },
}


def load_docs(
    library: str = "scipy", max_per_class: int = 120, seed: int = 0
) -> Dataset:
    """Sentences from docstrings of installed libraries; the class is the topic.

    Names of modules and of the described function, code and formulas are removed,
    so that the topic must be read from the words. Near-duplicates are dropped
    within and across libraries. A function is one group.

    Args:
        library: the domain, "scipy" (with NumPy) or "torch".
        max_per_class: at most so many sentences of a topic, drawn at random; the
            smaller topics have fewer.
        seed: the same seed draws the same sentences of the same versions.

    Raises:
        ValueError: an unknown library, or a number below 1.
    """
    if library not in _MODULES:
        raise ValueError(f"library must be one of {tuple(_MODULES)}, got {library!r}.")
    whole("max_per_class", max_per_class, 1)
    rows = [row for row in _corpus() if row[0] == library]
    topics = np.array([_TOPICS.index(row[1]) for row in rows])
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [
            rng.permutation(np.flatnonzero(topics == topic))[:max_per_class]
            for topic in range(len(_TOPICS))
        ]
    )
    chosen = rng.permutation(chosen)
    functions = sorted({row[2] for row in rows})
    number = {function: i for i, function in enumerate(functions)}
    return Dataset(
        x=[rows[i][3] for i in chosen],
        y=torch.tensor(topics[chosen]),
        classes=_TOPICS,
        name="docs",
        domain=library,
        domains=tuple(_MODULES),
        card=_card(library, len(chosen)),
        groups=torch.tensor([number[rows[i][2]] for i in chosen]),
        reload=partial(_of_library, max_per_class=max_per_class, seed=seed),
    )


def _of_library(library: str, **options: int) -> Dataset:
    return load_docs(library, **options)


@lru_cache(maxsize=1)
def _corpus() -> tuple[tuple[str, str, str, str], ...]:
    """All sentences as (library, topic, function, sentence), near-duplicates gone."""
    rows = []
    for library, topics in _MODULES.items():
        for topic, places in topics.items():
            for function, text in _docstrings(places):
                for sentence in plain_sentences(text, function):
                    rows.append((library, topic, function, sentence))
    return tuple(rows[i] for i in distinct([row[3] for row in rows]))


def _docstrings(places: tuple[str, ...]) -> list[tuple[str, str]]:
    """(name, docstring) of the public members of "module" or "module:name name"."""
    found = {}
    for place in places:
        path, _, listed = place.partition(":")
        owner = _resolve(path)
        for name in listed.split() or sorted(vars(owner)):
            member = getattr(owner, name, None)
            text = getattr(member, "__doc__", None)
            home = getattr(member, "__module__", None) or path
            if name.startswith("_") or name == "test" or not callable(member):
                continue
            if not home.startswith(("numpy", "scipy", "torch")):
                continue  # a helper from elsewhere that the module imports
            if isinstance(text, str) and len(text) > 40:
                # One name in two modules (fft in NumPy and SciPy) is one function.
                found[name] = found.get(name, "") + "\n\n" + inspect.cleandoc(text)
    return sorted(found.items())


def _resolve(path: str) -> object:
    """The module or class behind a dotted path."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _card(library: str, n: int) -> Card:
    names = {"scipy": ("numpy", "scipy"), "torch": ("torch",)}[library]
    versions = ", ".join(
        f"{name} {importlib.import_module(name).__version__}" for name in names
    )
    return Card(
        what="sentences of reference documentation, labelled by the topic's module",
        origin="real",
        source=f"docstrings of the installed {versions}, read at run time",
        licence="BSD 3-Clause",
        size=f"{n} sentences, {len(_TOPICS)} topics",
        citation="the documentation of " + ", ".join(names),
    )
