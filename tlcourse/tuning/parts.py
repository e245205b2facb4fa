"""Training little: only biases, or small new layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.arguments import whole
from tlcourse.features.freezing import named_parts


def bitfit(model: nn.Module, except_for: Sequence[str] = ()) -> nn.Module:
    """Let only biases learn, and the named parts (Ben Zaken et al., 2022).

    A bias is a parameter whose own name is ``bias``; those of BatchNorm and
    LayerNorm count. The modules' modes are left alone.

    Args:
        model: changed in place.
        except_for: names as in ``model.named_modules()`` that learn as a whole, the
            new head above all.

    Returns:
        The same model.

    Raises:
        ValueError: a name the model does not have, or a model without a bias.
    """
    parts = named_parts(model, except_for)
    kept = {p for part in parts for p in part.parameters()}
    biases = [n for n, _ in model.named_parameters() if n.split(".")[-1] == "bias"]
    if not biases:
        raise ValueError("the model has no parameter named bias; nothing would learn.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in biases or parameter in kept)
    return model


class Adapter(nn.Module):
    r"""A small residual block between frozen layers (Houlsby et al., 2019, figure 2).

    .. math:: z + U \,\mathrm{relu}(D z + b_D) + b_U,
        \qquad D \in \mathbb R^{m \times d},\ U \in \mathbb R^{d \times m}

    U and its bias start at 0, so that the network starts as it was.

    Args:
        features: d, the width of z.
        bottleneck: m, at least 1, usually far below d.
        dim: where the features are: -1 for ``(..., d)``, 1 for maps ``(b, d, h, w)``.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, features: int, bottleneck: int, dim: int = -1) -> None:
        """Random D, U = 0."""
        for name, width in (("features", features), ("bottleneck", bottleneck)):
            whole(name, width, 1)
        super().__init__()
        self.dim = dim
        self.down = nn.Linear(features, bottleneck)
        self.up = nn.Linear(bottleneck, features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, z: Tensor) -> Tensor:
        """The same shape as ``z``."""
        rows = z.movedim(self.dim, -1)
        return z + self.up(F.relu(self.down(rows))).movedim(-1, self.dim)
