"""DEV: what is right, and control variates that control nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse.adapt import validators
from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _Dev:
    """The DEV risk; each field may hold one mistake."""

    control: bool = True
    sign: float = -1.0
    normalised: bool = False
    of: str = "weighted"  # what is compared with the weights
    minus_eta: bool = True
    divisors: tuple[int, int] = (0, 0)
    guard: str = "equal"  # what is asked before the division
    checks: bool = True
    refuses_zero: bool = False
    weighs_equal: bool = True
    weighs: bool = True
    root: bool = False

    def __call__(self, losses: Tensor, weights: Tensor) -> Tensor:
        if self.checks and (len(losses) != len(weights) or (weights < 0).any()):
            raise ValueError("one weight >= 0 per loss")
        if self.refuses_zero and (weights == 0).any():
            raise ValueError("no weight may be 0")
        n = min(len(losses), len(weights))
        losses, weights = losses[:n], weights[:n]
        if self.normalised:
            weights = weights / weights.mean()
        wl = weights * losses if self.weighs else losses
        if not self.control:
            return wl.mean()
        d = weights - weights.mean()
        same = {
            "equal": (weights == weights[0]).all(),
            "variance": d.square().mean() == 0,
            "none": False,
        }
        if same[self.guard]:
            return wl.mean() if self.weighs_equal else losses.mean()
        against = wl if self.of == "weighted" else losses
        covariance = (against * d).sum() / (n - self.divisors[0])
        variance = d.square().sum() / (n - self.divisors[1])
        variance = variance.sqrt() if self.root else variance
        eta = self.sign * covariance / variance
        return wl.mean() + eta * weights.mean() - (eta if self.minus_eta else 0)


dev_risk = Key(
    reference=validators.dev_risk,
    tolerance=Tolerance(rtol=1e-3, atol=1e-4),
    mutants=(
        Mutant(
            "no_control_variate",
            _Dev(control=False),
            "This is the plain weighted mean (IWCV). The control variate eta * (mean "
            "weight - 1) is missing, which takes out the luck of the sample.",
        ),
        Mutant(
            "eta_plus",
            _Dev(sign=1.0),
            "eta has the wrong sign, so the correction doubles the error instead of "
            "removing it: eta = -Cov(w l, w) / Var(w).",
        ),
        Mutant(
            "weights_normalised",
            _Dev(normalised=True),
            "You scale the weights to mean 1 on this sample. Then mean(w) - 1 is "
            "always 0 and the control variate does nothing. Use them as they are.",
        ),
        Mutant(
            "covariance_of_losses",
            _Dev(of="losses"),
            "The covariance is that of the losses with the weights. What is averaged "
            "is w * l, so it is Cov(w l, w).",
        ),
        Mutant(
            "minus_eta_missing",
            _Dev(minus_eta=False),
            "`- eta` is missing at the end: the estimate is shifted by eta. The "
            "control is mean(w) minus its true value 1.",
        ),
        Mutant(
            "unequal_divisors",
            _Dev(divisors=(1, 0)),
            "Covariance and variance are divided by different numbers, n - 1 and n. "
            "Use the same divisor for both; then it cancels.",
        ),
        Mutant(
            "torch_var",
            _Dev(divisors=(0, 1)),
            "Your covariance is a mean over n, but the variance is divided by n - 1, "
            "as torch.var does unless it is told correction=0. Use the same divisor.",
        ),
        Mutant(
            "losses_for_equal_weights",
            _Dev(weighs_equal=False),
            "For equal weights you return the plain mean of the losses. Asked for is "
            "the weighted mean, mean(w * l): equal weights need not be 1.",
        ),
        Mutant(
            "zero_refused",
            _Dev(refuses_zero=True),
            "A weight of 0 was refused. It is a fair density ratio: the target has "
            "nothing there. Only negative weights are a mistake.",
        ),
        Mutant(
            "losses_unweighted",
            _Dev(weighs=False),
            "The losses are not multiplied by the weights: that is the source's risk. "
            "Average w * l.",
        ),
        Mutant(
            "deviation",
            _Dev(root=True),
            "You divide by the standard deviation of the weights. It is the variance: "
            "eta = -Cov(w l, w) / Var(w).",
        ),
        Mutant(
            "zero_by_zero",
            _Dev(guard="none"),
            "Equal weights have variance 0, and 0 / 0 is NaN. Perfectly aligned "
            "features give just that: return the weighted mean then.",
        ),
        Mutant(
            "variance_exactly_zero",
            _Dev(guard="variance"),
            "You ask whether the computed variance is exactly 0. Rounding leaves 1e-15 "
            "for twelve weights of 0.7, and eta explodes. Ask whether all weights are "
            "equal, or whether the variance is tiny.",
        ),
        Mutant(
            "not_refused",
            _Dev(checks=False),
            "Unequal lengths or a negative weight were accepted. Neither can be right: "
            "raise a ValueError.",
        ),
    ),
)
