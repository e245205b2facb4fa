"""Looking inside a network: layer outputs by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def record(model: nn.Module, layer_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Record what layers put out while the ``with`` block runs.

    Outputs are those of the latest forward pass, as the layer gave them: with a
    graph unless the pass ran under ``torch.no_grad()``, and in the model's mode.
    The hooks are removed when the block ends, also by an error; the dictionary
    stays. A layer that changes its input in place (``ReLU(inplace=True)``) changes
    what was recorded before it.

    Args:
        model: any module.
        layer_names: names as in ``model.named_modules()``.

    Yields:
        Dictionary from layer name to output, empty before the first pass.

    Raises:
        ValueError: a name the model does not have.

    Example:
        >>> with torch.no_grad(), record(model, ["stage1"]) as outputs:
        ...     model(x)
        >>> outputs["stage1"].shape
    """
    if isinstance(layer_names, str):
        raise ValueError(f"layer_names must be a list, write [{layer_names!r}].")
    modules = dict(model.named_modules())
    for name in layer_names:
        if name not in modules or name == "":
            near = difflib.get_close_matches(name, modules, n=3, cutoff=0.0)
            raise ValueError(
                f"the model has no layer {name!r}; the nearest are "
                f"{', '.join(repr(n) for n in near if n) or 'none'}."
            )
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: outputs.__setitem__(name, output)

    handles = [modules[name].register_forward_hook(keep(name)) for name in layer_names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
