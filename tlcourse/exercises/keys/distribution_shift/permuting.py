"""The permutation test: the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.keys.distribution_shift.splits import PERMUTATION
from tlcourse.exercises.spec import Key, Mutant

Statistic = Callable[[Tensor, Tensor], float]
Result = tuple[float, float, list[float]]
Orders = Callable[[int, int, int, torch.Generator], Tensor]
P = Callable[[float, Tensor], float]


def _shuffle(n: int, m: int, b: int, g: torch.Generator) -> Tensor:
    return torch.randperm(n + m, generator=g)


def _exact(found: float, null: Tensor) -> float:
    return (1 + int((null >= found).sum())) / (len(null) + 1)


def _test(
    orders: Orders = _shuffle,
    p: P = _exact,
    generator: Callable[[int], torch.Generator] = lambda s: (
        torch.Generator().manual_seed(s)
    ),
    first: Callable[[int, int], int] = lambda n, m: n,
    own: bool = False,
) -> Callable[..., Result]:
    """A permutation test with a flaw to choose."""

    def run(
        x: Tensor, y: Tensor, statistic: Statistic, num_permutations: int, seed: int
    ) -> Result:
        z, n, m, g = torch.cat([x, y]), len(x), len(y), generator(seed)
        found, cut = statistic(x, y), first(n, m)
        null = [found] if own else []
        for b in range(num_permutations):
            order = orders(n, m, b, g)
            null.append(statistic(z[order[:cut]], z[order[cut:]]))
        values = torch.tensor(null, dtype=torch.float64)
        return found, p(found, values), null

    return run


def _x_only(n: int, m: int, b: int, g: torch.Generator) -> Tensor:
    return torch.cat([torch.randperm(n, generator=g), torch.arange(n, n + m)])


def _one_order(n: int, m: int, b: int, g: torch.Generator) -> Tensor:
    return torch.randperm(
        n + m, generator=torch.Generator().manual_seed(g.initial_seed())
    )


def _with_replacement(n: int, m: int, b: int, g: torch.Generator) -> Tensor:
    return torch.randint(n + m, (n + m,), generator=g)


def _equal_shares(n: int, m: int, b: int, g: torch.Generator) -> Tensor:
    a, c = torch.randperm(n, generator=g), n + torch.randperm(m, generator=g)
    moved = round(n * m / (n + m))
    return torch.cat([a[moved:], c[:moved], a[:moved], c[moved:]])


def _global(seed: int) -> torch.Generator:
    torch.manual_seed(seed)
    return torch.default_generator


def _count(found: float, null: Tensor, how: Callable[[Tensor, Tensor], Tensor]) -> int:
    return int(how(null, torch.tensor(found, dtype=null.dtype)).sum())


permutation_test = Key(
    reference=shift.permutation_test,
    properties=PERMUTATION,
    mutants=(
        Mutant(
            "p_without_one",
            _test(p=lambda t, null: int((null >= t).sum()) / len(null)),
            "p is s / B, which can be 0 and rejects too often when B is small. The "
            "samples as they came are one of the equally likely splits: count them, "
            "(s + 1) / (B + 1).",
        ),
        Mutant(
            "one_above_only",
            _test(p=lambda t, null: (1 + int((null >= t).sum())) / len(null)),
            "You add 1 above, not below: p can exceed 1. It is (s + 1) / (B + 1).",
        ),
        Mutant(
            "ties_not_counted",
            _test(p=lambda t, null: (1 + _count(t, null, torch.gt)) / (len(null) + 1)),
            "Null values equal to the statistic are not counted. They are as extreme: "
            "use >=, or a statistic that never changes would be significant.",
        ),
        Mutant(
            "wrong_direction",
            _test(p=lambda t, null: (1 + _count(t, null, torch.le)) / (len(null) + 1)),
            "You count null values below the statistic. A large statistic speaks for a "
            "difference: count those at least as large.",
        ),
        Mutant(
            "absolute_values",
            _test(
                p=lambda t, null: (
                    (1 + int((null.abs() >= abs(t)).sum())) / (len(null) + 1)
                )
            ),
            "You compare absolute values. A statistic that is far below 0, as unbiased "
            "MMD² may be, is no evidence of a difference.",
        ),
        Mutant(
            "only_x_shuffled",
            _test(_x_only),
            "Rows are shuffled within x only, so that no row ever changes sides. Pool "
            "x and y, and deal all rows anew.",
        ),
        Mutant(
            "equal_shares",
            _test(_equal_shares),
            "Every split exchanges the same number of rows. Splits with more and with "
            "fewer are possible, too: shuffle the pooled rows without conditions.",
        ),
        Mutant(
            "one_permutation_reused",
            _test(_one_order),
            "Every split is the same: the generator is made anew, from one seed, "
            "inside the loop. Make it once, before the loop.",
        ),
        Mutant(
            "with_replacement",
            _test(_with_replacement),
            "Rows are drawn with replacement: a bootstrap, in which one row may appear "
            "on both sides. A permutation uses each row once.",
        ),
        Mutant(
            "sizes_exchanged",
            _test(first=lambda n, m: m),
            "The shuffled rows are cut after m rows, so that n and m change places.",
        ),
        Mutant(
            "own_value_in_null",
            _test(own=True, p=lambda t, null: _exact(t, null[1:])),
            "The null distribution you return also holds the statistic of x and y. "
            "Return the shuffles only; the 1 in the formula counts the samples.",
        ),
        Mutant(
            "seed_ignored",
            _test(generator=lambda seed: torch.default_generator),
            "The seed is not used, so a result cannot be reproduced. Use "
            "torch.Generator().manual_seed(seed) in torch.randperm.",
        ),
        Mutant(
            "global_seed",
            _test(generator=_global),
            "torch.manual_seed, np.random.seed and random.seed change the random state "
            "of the whole program. Make a generator of your own and hand it to "
            "torch.randperm.",
        ),
    ),
)
