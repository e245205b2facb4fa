"""The step with an MMD: what is right, and distances that pull the wrong way."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import shift
from tlcourse.exercises.keys.domain_adaptation.descending import descend
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Dan:
    """One step with an MMD; each flag puts one mistake in."""

    of: str = "features"
    frozen: str = ""
    sign: float = 1.0
    unbiased: bool = True
    median: bool = False
    stale: bool = False
    weighs: bool = True

    def __call__(
        self, body: nn.Module, head: nn.Module, x_source: Tensor, y_source: Tensor,
        x_target: Tensor, strength: float, bandwidth: float, lr: float,
    ) -> tuple[float, float]:  # fmt: skip
        z_s, z_t = body(x_source), body(x_target)
        task = F.cross_entropy(head(z_s), y_source)
        pair = {
            "features": (z_s, z_t),
            "logits": (head(z_s), head(z_t)),
            "inputs": (x_source, x_target),
        }[self.of]
        s, t = pair
        s = s.detach() if self.frozen in ("source", "both") else s
        t = t.detach() if self.frozen in ("target", "both") else t
        distance = shift.mmd2(
            s, t, None if self.median else bandwidth, unbiased=self.unbiased
        )
        weight = self.sign * strength if self.weighs else self.sign
        loss = task + weight * distance
        descend(loss, (body, head), lr, self.stale)
        return task.item(), distance.item()


dan_step = Key(
    reference=_Dan(),
    mutants=(
        Mutant(
            "on_logits",
            _Dan(of="logits"),
            "The MMD is taken between logits, so the head is pulled by it too. Asked "
            "for is the distance between the features body(x).",
        ),
        Mutant(
            "on_inputs",
            _Dan(of="inputs"),
            "The MMD is taken between the inputs. It does not depend on the network, "
            "and its gradient is zero. Compare body(x_source) with body(x_target).",
        ),
        Mutant(
            "target_detached",
            _Dan(frozen="target"),
            "The target's features are detached: only the source moves. The gradient "
            "flows through both sides into the shared body.",
        ),
        Mutant(
            "source_detached",
            _Dan(frozen="source"),
            "The source's features are detached for the distance: only the target "
            "moves. The gradient flows through both sides into the shared body.",
        ),
        Mutant(
            "distance_detached",
            _Dan(frozen="both"),
            "The distance is a plain number without a gradient (.item(), detach() or "
            "no_grad()), so the body learns from the task alone. Keep its graph.",
        ),
        Mutant(
            "strength_ignored",
            _Dan(weighs=False),
            "The distance counts with weight 1, whatever the strength. The loss is "
            "task + strength * MMD^2.",
        ),
        Mutant(
            "minus",
            _Dan(sign=-1.0),
            "The distance is subtracted, so that the step drives the domains apart. A "
            "distance is to become small: add it. Only a discriminator's loss is "
            "fought over.",
        ),
        Mutant(
            "biased",
            _Dan(unbiased=False),
            "This is the biased MMD^2, with the diagonal. On small batches it is large "
            "even for equal distributions; use the unbiased one, mmd2's default.",
        ),
        Mutant(
            "own_bandwidth",
            _Dan(median=True),
            "The bandwidth that is passed is not used; without it mmd2 takes the "
            "median heuristic. Pass bandwidth on.",
        ),
        Mutant(
            "stale_gradients",
            _Dan(stale=True),
            "Gradients of an earlier step are still in .grad and join yours. Clear "
            "them first, or use torch.autograd.grad.",
        ),
    ),
)
