"""Linear probing before fine-tuning: what is right, and phases that leak."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tlcourse import features
from tlcourse.exercises.probes.fine_tuning.common import descend
from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _LpFt:
    """Two phases; each field puts one mistake in."""

    first: str = "head"  # who learns in the first phase: the "head", "all", "prefix"
    mode: str = "frozen"  # the body in the first phase, "norm" alone, or "train"
    rates: str = "own"  # "swapped", "probe" for both, "tuned" for both
    second: str = "owner's"  # flags in the second phase: "owner's", "all", "head"
    second_mode: bool = True
    ends_in_eval: bool = True
    thaws_modes: bool = True
    swaps_steps: bool = False
    probes: bool = True
    tunes: bool = True

    def __call__(
        self, model: nn.Module, head: str, x: Tensor, y: Tensor, probe_lr: float,
        lr: float, probe_steps: int, steps: int,
    ) -> nn.Module:  # fmt: skip
        rates = {
            "own": (probe_lr, lr),
            "swapped": (lr, probe_lr),
            "probe": (probe_lr, probe_lr),
            "tuned": (lr, lr),
        }[self.rates]
        if self.swaps_steps:
            probe_steps, steps = steps, probe_steps
        asked = {p: p.requires_grad for p in model.parameters()}
        if self.probes:
            self._first(model, head)
            descend(model, x, y, rates[0], probe_steps)
        self._second(model, head, asked)
        if self.tunes:
            descend(model, x, y, rates[1], steps)
        return model.eval() if self.ends_in_eval else model.train()

    def _first(self, model: nn.Module, head: str) -> None:
        features.freeze(model, except_for=[head])
        for module in model.modules() if self.mode != "frozen" else ():
            if self.mode == "train" or not isinstance(module, nn.BatchNorm1d):
                vars(module).pop("train", None)
        if self.first == "prefix":
            for name, p in model.named_parameters():
                p.requires_grad_(name.startswith(head))
        if self.first == "all":
            model.requires_grad_(True)
        model.train()

    def _second(self, model: nn.Module, head: str, asked: dict[Tensor, bool]) -> None:
        if self.thaws_modes:
            features.unfreeze(model)
        model.requires_grad_(True)
        for p, flag in asked.items():
            p.requires_grad_(flag or self.second == "all")
        if self.second == "head":
            model.requires_grad_(False)
            model.get_submodule(head).requires_grad_(True)
        model.train(self.second_mode)


lp_ft = Key(
    reference=_LpFt(),
    tolerance=Tolerance(rtol=1e-3, atol=1e-5),
    mutants=(
        Mutant(
            "no_probe",
            _LpFt(probes=False),
            "The second phase starts from the untrained head: the first phase is "
            "missing, or its head was thrown away. This is plain fine-tuning, and the "
            "random head's gradients distort the body.",
        ),
        Mutant(
            "no_tuning",
            _LpFt(tunes=False),
            "The second phase is missing: the body never moves. Thaw it and go on with "
            "everything.",
        ),
        Mutant(
            "body_learns_at_once",
            _LpFt(first="all", mode="train"),
            "The body learns in the first phase already, while the head is still "
            "random. Freeze it until the second.",
        ),
        Mutant(
            "statistics_drift",
            _LpFt(mode="train"),
            "The body's weights stay in the first phase, but its BatchNorm is in train "
            "mode: its statistics drift, and the head learns on features that depend "
            "on the batch. Use freeze, which holds the body in eval mode.",
        ),
        Mutant(
            "only_batchnorm_held",
            _LpFt(mode="norm"),
            "In the first phase you hold the body's BatchNorm in eval mode, and the "
            "rest of the body, dropout for one, is in train mode. Use freeze, which "
            "holds all of it.",
        ),
        Mutant(
            "prefix_match",
            _LpFt(first="prefix"),
            "`name.startswith(head)` takes in what only begins alike: a body called "
            "`head_in` learns in the first phase. Compare with the dot, or use freeze.",
        ),
        Mutant(
            "steps_swapped",
            _LpFt(swaps_steps=True),
            "The numbers of steps are swapped: the first phase takes probe_steps, the "
            "second steps.",
        ),
        Mutant(
            "thawed_by_requires_grad",
            _LpFt(thaws_modes=False, second="all"),
            "requires_grad_(True) does not undo freeze: the body's BatchNorm goes on "
            "ignoring train(), and what the owner had frozen learns. Use unfreeze, and "
            "put the old flags back.",
        ),
        Mutant(
            "body_stays_frozen",
            _LpFt(second="head"),
            "The second phase trains the head alone: the body was not thawed. Give the "
            "parameters their requires_grad back.",
        ),
        Mutant(
            "batchnorm_stays_frozen",
            _LpFt(thaws_modes=False),
            "In the second phase the weights learn, but BatchNorm still ignores "
            "train(). unfreeze(model) undoes freeze, modes included.",
        ),
        Mutant(
            "second_phase_in_eval_mode",
            _LpFt(second_mode=False),
            "The second phase runs in eval mode. Call model.train() before it.",
        ),
        Mutant(
            "thaws_all",
            _LpFt(second="all"),
            "A parameter that its owner had frozen before the call learns in the "
            "second phase. Remember requires_grad, and put it back.",
        ),
        Mutant(
            "rates_swapped",
            _LpFt(rates="swapped"),
            "The two rates are swapped. The head is new and takes the large one, "
            "probe_lr; the body keeps what it knows at the small one, lr.",
        ),
        Mutant(
            "probe_rate_for_both",
            _LpFt(rates="probe"),
            "The second phase runs at the probe's rate, which is made for a new head, "
            "and tears the body apart. Use lr.",
        ),
        Mutant(
            "tuning_rate_for_both",
            _LpFt(rates="tuned"),
            "The first phase runs at the small rate of the second: the head does not "
            "get ready. Use probe_lr.",
        ),
        Mutant(
            "left_in_train_mode",
            _LpFt(ends_in_eval=False),
            "The model comes back in train mode: the next prediction depends on the "
            "batch. End with model.eval().",
        ),
    ),
)
