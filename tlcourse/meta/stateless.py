"""From a network to a loss that takes its parameters as an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tlcourse.meta.task_inputs import Params
from tlcourse.models.backbones import Mlp

Error = Callable[[Tensor, Tensor], Tensor]

_ELEMENTWISE = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
    nn.Identity,
)
_REDUCES = (F.cross_entropy, F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)


class ModuleLoss:
    """A network and an error measure as ``loss(params, x, y)`` of one task.

    :func:`module_loss` makes and describes it.

    Attributes:
        model: the network; its own parameters are read by :meth:`params` only.
        error: ``error(outputs, y)``, a mean over the samples.
    """

    def __init__(self, model: nn.Module, error: Error) -> None:
        """Keep both; :func:`module_loss` checks them."""
        self.model, self.error = model, error
        self._norms = [
            (name, part)
            for name, part in model.named_modules()
            if getattr(part, "track_running_stats", False)
        ]
        self._layers = stackable_layers(model)

    def params(self) -> Params:
        """A detached copy of the parameters that learn, by name."""
        return {
            name: value.detach().clone()
            for name, value in self.model.named_parameters()
            if value.requires_grad
        }

    def outputs(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """What the network says with these parameters for one task's ``x``.

        Raises:
            ValueError: a norm would write down statistics of this task.
        """
        for name, norm in self._norms:
            if norm.training:
                raise ValueError(
                    f"{name!r} keeps running statistics, which leak from task to task "
                    "and from support to query: call model.eval() if they were "
                    "learned before, build it with track_running_stats=False, or use "
                    "GroupNorm."
                )
        return functional_call(self.model, dict(params), (x,))

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Mean error of one task, a scalar."""
        return self.error(self.outputs(params, x), y)

    def stacked(self, params: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Mean errors ``(T,)`` of all tasks under parameters ``(T, ...)``.

        Raises:
            ValueError: the network is more than linear layers and elementwise ones.
        """
        if self._layers is None:
            raise ValueError(
                'tasks="batched" needs an Mlp, or a Sequential of Linear and '
                f"elementwise layers; {type(self.model).__name__} is neither. Use "
                'tasks="vmap", or tasks="loop" for convolutions on a CPU.'
            )
        outputs = stacked_outputs(self._layers, params, x)  # (T, n, k)
        if not any(self.error is known for known in _REDUCES):
            return vmap(self.error)(outputs, y)
        flat = self.error(outputs.flatten(0, 1), y.flatten(0, 1), reduction="none")
        return flat.reshape(len(x), -1).mean(1)


def module_loss(model: nn.Module, error: Error = F.cross_entropy) -> ModuleLoss:
    """A network as a function of its parameters (``torch.func.functional_call``).

    The result is the ``loss`` of :func:`~tlcourse.meta.maml.maml_grad`. It never
    changes the network; write parameters back with
    ``model.load_state_dict(params, strict=False)``.

    BatchNorm needs a decision. With running statistics in training mode it is
    refused: they mix the tasks, and support with query. With
    ``track_running_stats=False`` every batch is normalised by itself, so the
    predictions of query samples depend on each other (a *transductive* setting: say
    so beside a result). In eval mode fixed statistics are used.

    Args:
        model: maps ``(n, ...)`` to outputs; put it in the mode that it shall have.
        error: ``error(outputs, y)``, a mean over the samples of one task.

    Raises:
        ValueError: no parameter that learns, or something that is not a network.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be an nn.Module, got {type(model).__name__}.")
    if not any(value.requires_grad for value in model.parameters()):
        raise ValueError(
            "model has no parameter with requires_grad=True; unfreeze what shall learn."
        )
    return ModuleLoss(model, error)


Layers = list[tuple[str, nn.Module]]


def stackable_layers(model: nn.Module, prefix: str = "") -> Layers | None:
    """The layers in order if all are linear, elementwise or a flattening, else None."""
    if isinstance(model, Mlp):
        parts = [("body", model.body), ("head", model.head)]
    elif isinstance(model, nn.Sequential):
        parts = list(model.named_children())
    else:
        return [(prefix, model)] if _is_plain(model) else None
    found: Layers = []
    for name, part in parts:
        inner = stackable_layers(part, f"{prefix}.{name}" if prefix else name)
        if inner is None:
            return None
        found += inner
    return found


def _is_plain(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return isinstance(layer, (nn.Linear, *_ELEMENTWISE))


def stacked_outputs(layers: Layers, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Outputs ``(T, n, k)`` of T perceptrons at once, by batched matrix products.

    Args:
        layers: as :func:`stackable_layers` gives them.
        params: name to ``(T, ...)``; a frozen parameter that is missing here is taken
            from its layer.
        x: ``(T, n, ...)``.
    """
    for name, layer in layers:
        if isinstance(layer, nn.Flatten):
            x = x.flatten(2)
        elif not isinstance(layer, nn.Linear):
            x = layer(x)
        else:
            prefix = f"{name}." if name else ""
            weight = _of(params, f"{prefix}weight", layer.weight, len(x))
            if layer.bias is None:
                x = torch.bmm(x, weight.transpose(1, 2))
                continue
            bias = _of(params, f"{prefix}bias", layer.bias, len(x))
            x = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
    return x


def _of(params: Mapping[str, Tensor], name: str, own: Tensor, num_tasks: int) -> Tensor:
    found = params.get(name)
    return own.detach().expand(num_tasks, *own.shape) if found is None else found
