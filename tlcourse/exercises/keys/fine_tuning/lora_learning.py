"""LoRA layers that start, scale or learn in the wrong way, or take any rank."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import models
from tlcourse.exercises.spec import Mutant

_Base = models.LoRALinear  # right; the mutants overwrite one thing each


class _BothZero(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        nn.init.zeros_(self.lora_a)


class _BothRandom(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        nn.init.normal_(self.lora_b, 0, 0.1)


class _BRandom(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        nn.init.zeros_(self.lora_a)
        nn.init.normal_(self.lora_b, 0, 0.1)


class _NoScale(_Base):
    scale = 1.0  # type: ignore[assignment]


class _NotByRank(_Base):
    @property
    def scale(self) -> float:
        return self.alpha


class _ByRootOfRank(_Base):
    @property
    def scale(self) -> float:
        return self.alpha / self.rank**0.5


class _BaseTrains(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        linear.requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.scale * (x @ self.lora_a.T @ self.lora_b.T)


class _BiasTrains(_BaseTrains):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        linear.weight.requires_grad_(False)


class _NoGradient(_Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.merge()(x)


class _Float32(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        self.lora_a.data = self.lora_a.data.float()
        self.lora_b.data = self.lora_b.data.float()

    def forward(self, x: Tensor) -> Tensor:
        frozen = F.linear(x, self.linear.weight, self.linear.bias)
        return frozen + self.scale * (x @ self.lora_a.T @ self.lora_b.T)


class _AnyRank(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, min(max(rank, 1), *linear.weight.shape), alpha)
        self.lora_a = nn.Parameter(torch.randn(rank, self.in_features))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank))
        self.to(linear.weight)
        self.rank = max(rank, 1)


class _FixedA(_Base):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        torch.manual_seed(0)
        super().__init__(linear, rank, alpha)


class _WideRank(_AnyRank):
    """Compares the rank with the outputs alone."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        if not 1 <= rank <= linear.out_features:
            raise ValueError(f"rank is {rank}")
        super().__init__(linear, rank, alpha)


class _LongRank(_AnyRank):
    """Compares the rank with the inputs alone."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        if not 1 <= rank <= linear.in_features:
            raise ValueError(f"rank is {rank}")
        super().__init__(linear, rank, alpha)


MUTANTS = (
    Mutant(
        "both_zero",
        _BothZero,
        "A and B both start at 0. The gradient of each is a product with the "
        "other, so both are 0 for ever and nothing is learnt. Draw A at random.",
    ),
    Mutant(
        "both_random",
        _BothRandom,
        "A and B are both random: the adapted network starts as another one than "
        "the pretrained. B starts at 0.",
    ),
    Mutant(
        "b_random",
        _BRandom,
        "A is 0 and B is random. It would train, but it is the other way round "
        "here, as in the paper: A is random, B is 0.",
    ),
    Mutant(
        "a_always_the_same",
        _FixedA,
        "Every layer starts with the same A: it is no random draw, or your code "
        "sets the seed. Draw it from torch's generator and leave the seed alone.",
    ),
    Mutant(
        "no_scale",
        _NoScale,
        "The update is not scaled. It is multiplied by alpha / rank.",
    ),
    Mutant(
        "not_divided_by_rank",
        _NotByRank,
        "The update is multiplied by alpha alone. Divide by the rank, so that a "
        "larger rank does not need a smaller learning rate.",
    ),
    Mutant(
        "divided_by_root_of_rank",
        _ByRootOfRank,
        "You divide alpha by the square root of the rank. That is a later variant "
        "(rsLoRA); here it is alpha / rank.",
    ),
    Mutant(
        "base_trains",
        _BaseTrains,
        "The given layer trains as well: then this is full fine-tuning with "
        "something added. Switch its requires_grad off, weight and bias.",
    ),
    Mutant(
        "bias_trains",
        _BiasTrains,
        "The weight of the given layer is frozen, its bias still learns. Freeze "
        "both: linear.requires_grad_(False).",
    ),
    Mutant(
        "no_gradient",
        _NoGradient,
        "The output has no gradient with respect to A and B: the forward pass "
        "goes through a merged layer, whose weights are new. Compute the update "
        "from lora_a and lora_b.",
    ),
    Mutant(
        "float32",
        _Float32,
        "A and B are float32 whatever the layer is, and the products fail in a "
        "network of another dtype. Make them with `linear.weight.new_zeros(...)`.",
    ),
    Mutant(
        "rank_against_the_outputs",
        _WideRank,
        "The rank is compared with the outputs alone. B A has no higher rank than "
        "the smaller of both sides: min(d_in, d_out).",
    ),
    Mutant(
        "rank_against_the_inputs",
        _LongRank,
        "The rank is compared with the inputs alone. B A has no higher rank than "
        "the smaller of both sides: min(d_in, d_out).",
    ),
    Mutant(
        "any_rank",
        _AnyRank,
        "A rank below 1 or above the layer's smaller side was accepted. Above it "
        "the update is not of low rank and only costs more. Raise a ValueError.",
    ),
)
