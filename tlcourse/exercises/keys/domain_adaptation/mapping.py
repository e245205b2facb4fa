"""The CORAL map: what is right, and the roots that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse import adapt
from tlcourse.exercises.spec import Key, Mutant, Tolerance


def _checked(source: Tensor, target: Tensor) -> None:
    if source.shape[1] != target.shape[1] or min(len(source), len(target)) < 2:
        raise ValueError("unequal widths or fewer than two samples")


def _power(c: Tensor, a: float) -> Tensor:
    values, vectors = torch.linalg.eigh(c)
    return vectors * values.clamp(min=1e-9) ** a @ vectors.T


@dataclass(frozen=True)
class _Map:
    """Whiten and recolour; each field may hold one mistake."""

    colour: str = "target"
    whiten: str = "source"
    minus: str = "source"  # whose mean is taken off
    plus: str = "target"  # whose mean is added
    divisor: int = 1
    diagonal: bool = False
    ridge: float | None = None
    root: str = "symmetric"
    checks: bool = True

    def __call__(self, source: Tensor, target: Tensor, ridge: float = 1.0) -> Tensor:
        if self.checks:
            _checked(source, target)
        ridge = ridge if self.ridge is None else self.ridge
        given = {"source": source.double(), "target": target.double()}
        means = {name: z.mean(0) for name, z in given.items()}
        means["none"] = torch.zeros((), dtype=torch.float64)
        inner = self._covariance(given[self.whiten], ridge)
        outer = torch.eye(source.shape[1], dtype=torch.float64)
        if self.colour != "none":
            outer = self._covariance(given[self.colour], ridge)
        s = given["source"] - means[self.minus]
        if self.root == "symmetric":
            s = s @ _power(inner, -0.5) @ _power(outer, 0.5)
        elif self.root == "cholesky":
            lower, upper = torch.linalg.cholesky(inner), torch.linalg.cholesky(outer)
            s = torch.linalg.solve_triangular(lower, s.T, upper=False).T @ upper.T
        elif self.root == "none":
            s = s @ torch.linalg.inv(inner) @ outer
        elif self.root == "swapped":
            s = s @ _power(outer, 0.5) @ _power(inner, -0.5)
        return (s + means[self.plus]).float()

    def _covariance(self, z: Tensor, ridge: float) -> Tensor:
        centred = z - z.mean(0)
        c = centred.T @ centred / (len(z) - self.divisor)
        c = torch.diag(c.diagonal()) if self.diagonal else c
        return c + ridge * torch.eye(z.shape[1], dtype=z.dtype)


class _Unchecked(_Map):
    """Cuts the wider side, and takes one sample for a covariance of 0."""

    def __call__(self, source: Tensor, target: Tensor, ridge: float = 1.0) -> Tensor:
        try:
            return adapt.coral_map(source, target, ridge)
        except ValueError:
            return source.clone()


coral_map = Key(
    reference=adapt.coral_map,
    tolerance=Tolerance(rtol=1e-3, atol=2e-4),
    mutants=(
        Mutant(
            "coloured_by_source",
            _Map(colour="source"),
            "Only the mean moves. If you whiten, the colour is the source's own again, "
            "which cancels: after C_S^(-1/2) comes the target's C_T^(1/2).",
        ),
        Mutant(
            "not_coloured",
            _Map(colour="none"),
            "The source is whitened and not coloured: its covariance is the identity. "
            "Multiply by the target's C_T^(1/2) as well.",
        ),
        Mutant(
            "other_way_round",
            _Map(whiten="target", colour="source"),
            "The two covariances are exchanged. Whiten by C_S^(-1/2), the source's "
            "own, then colour by C_T^(1/2).",
        ),
        Mutant(
            "no_ridge",
            _Map(ridge=0.0),
            "`ridge * I` is missing from the covariances. Without it a direction that "
            "the few source samples do not fill is blown up.",
        ),
        Mutant(
            "mean_not_added",
            _Map(plus="none"),
            "The result is centred at 0. Add the target's mean at the end, or the "
            "classifier meets features in the wrong place.",
        ),
        Mutant(
            "source_mean_kept",
            _Map(plus="source"),
            "The source's mean is added back. The moved samples belong to where the "
            "target is: add the target's mean.",
        ),
        Mutant(
            "not_centred",
            _Map(minus="none"),
            "The source's mean was not taken off before the map, so it is stretched "
            "and turned with the rest. Subtract it first.",
        ),
        Mutant(
            "divided_by_n",
            _Map(divisor=0),
            "The covariances are divided by n. Asked for is n - 1; with few samples "
            "and unequal sizes the map changes.",
        ),
        Mutant(
            "diagonal",
            _Map(diagonal=True),
            "Only the variances are matched: the covariances between features are "
            "left out. That is standardising, not CORAL.",
        ),
        Mutant(
            "cholesky",
            _Map(root="cholesky"),
            "A Cholesky factor whitens too, but turns the cloud on the way, so that "
            "samples come out elsewhere. Use symmetric roots: V diag(lambda^a) V^T.",
        ),
        Mutant(
            "no_root",
            _Map(root="none"),
            "You use C_S^(-1) C_T, without the square roots: the variances come out "
            "with the wrong power. Use the powers -1/2 and 1/2.",
        ),
        Mutant(
            "order_swapped",
            _Map(root="swapped"),
            "The two matrices stand in the wrong order: s @ C_T^(1/2) @ C_S^(-1/2). "
            "Matrices do not commute; whiten first.",
        ),
        Mutant(
            "not_refused",
            _Unchecked(),
            "Unequal widths or a single sample were accepted. Raise a ValueError: "
            "there is no covariance to match.",
        ),
    ),
)
