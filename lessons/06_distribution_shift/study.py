"""Power of the tests, distances against accuracy drops, and the terms of a bound."""

import torch
from torch import Tensor

from tlcourse import data, models, shift
from tlcourse.features import extract_features, ridge_probe
from tlcourse.transferability import rank_correlation

SEEDS = (0, 1, 2, 3, 4)
REPEATS = 60  # tests per run
FACTORS = tuple(2.0**k for k in range(-6, 5))  # widths, in median distances
FACES = (
    "DejaVuSans",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
DISTANCES = ("mmd", "energy", "coral", "means", "sliced", "proxy")
METRICS = {
    **{f"width {f:g}": "share of rejections, width f medians" for f in FACTORS},
    "ladder": "share of rejections, five widths around the median",
    "chosen": "share of rejections, width chosen on one half, tested on the other",
    "best of all": "share where the smallest p over all widths is at most 0.05",
    **{f"rho_{d}": f"rank correlation of {d} and accuracy drop" for d in DISTANCES},
    "error_source": "error of the source classifier on new source samples",
    "half_divergence": "half the proxy A-distance",
    "joint_error": "error of one joint classifier, source plus target",
    "error_target": "error of the source classifier on the target",
}
DESIGNS = {
    "reference": {},
    "median width only": {"factors": (1.0,)},
    "median / 16": {"factors": (1 / 16,)},
    "median x 16": {"factors": (16.0,)},
    "energy distance": {"test": "energy"},
    "distance of means": {"test": "means"},
    "linear-time MMD": {"test": "linear"},
    "19 permutations": {"permutations": 19},
    "half the samples": {"n": 30},
    "twice the samples": {"n": 120},
    "pixels, not features": {"space": "pixels"},
}
METRICS |= {name: "share of rejections in this design" for name in DESIGNS}
PAIRS = {
    "same face": ("DejaVuSans", "DejaVuSans"),
    "bold": ("DejaVuSans", "DejaVuSans-Bold"),
    "serif": ("DejaVuSans", "DejaVuSerif"),
    "STIX italic": ("DejaVuSans", "STIXGeneralItalic"),
    "all fonts to handwriting": ("all", "handwriting"),
}


def arms() -> list[dict]:
    return [
        *({"question": "power", "pair": p} for p in ("mean", "scale", "blobs", "none")),
        *({"question": "drop", "space": s} for s in ("stage3", "stage2", "pixels")),
        *({"question": "bound", "pair": p} for p in PAIRS),
        {"question": "design"},
    ]


def run(arm: dict, seed: int) -> dict[str, float]:
    if arm["question"] == "power":
        return power(arm["pair"], seed)
    if arm["question"] == "drop":
        return drop(arm["space"], seed)
    if arm["question"] == "bound":
        return bound(*PAIRS[arm["pair"]], seed)
    return design(seed)


def draw(pair: str, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two samples of n points: what differs is the mean, the scale, or the shape."""
    if pair == "blobs":  # nine clusters; round in x, at a slant in y
        x, y = (torch.randn(n, 2, generator=generator) for _ in "xy")
        turn = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
        y = y * torch.tensor([2.0, 0.5]) @ turn
        centres = (torch.randint(3, (2, n, 2), generator=generator) * 10).float()
        return x + centres[0], y + centres[1]
    x, y = (torch.randn(n, 10, generator=generator) for _ in "xy")
    if pair == "mean":
        y[:, 0] += 0.6
    return x, y * 1.15 if pair == "scale" else y


def power(pair: str, seed: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    n = 200 if pair == "blobs" else 100
    hits = dict.fromkeys(METRICS, 0.0)
    for repeat in range(REPEATS):
        x, y = draw(pair, n, generator)
        median = shift.median_heuristic(x, y).item()
        p = {f: p_value(x, y, [f * median], repeat) for f in FACTORS}
        for factor, value in p.items():
            hits[f"width {factor:g}"] += value <= 0.05
        hits["ladder"] += p_value(x, y, None, repeat) <= 0.05
        hits["best of all"] += min(p.values()) <= 0.05
        half = n // 2
        width = choose(x[:half], y[:half], [f * median for f in FACTORS])
        hits["chosen"] += p_value(x[half:], y[half:], [width], repeat) <= 0.05
    return {name: hit / REPEATS for name, hit in hits.items() if name in POWER}


POWER = [*(f"width {f:g}" for f in FACTORS), "ladder", "chosen", "best of all"]


def p_value(x, y, bandwidth, seed, permutations=99) -> float:
    return shift.permutation_test(
        x, y, bandwidth=bandwidth, num_permutations=permutations, seed=seed
    ).p_value


def choose(x: Tensor, y: Tensor, widths: list[float]) -> float:
    """The width whose MMD lies most deviations of its own null above 0."""

    def score(width: float) -> float:
        test = shift.permutation_test(x, y, bandwidth=[width], num_permutations=99)
        return test.statistic / (test.null.std().item() + 1e-12)

    return max(widths, key=score)


def in_space(space: str, x: Tensor) -> Tensor:
    if space == "pixels":
        return torch.nn.functional.avg_pool2d(x, 2).flatten(1)  # (n, 256)
    return extract_features(models.load("glyphnet"), x, space)


def drop(space: str, seed: int) -> dict[str, float]:
    """Rank correlation, over ordered pairs of faces, of distance and lost accuracy.

    The classifier always reads stage3; the distance is taken in ``space``.
    """
    options = {"script": "greek", "per_class": 20, "seed": seed}
    sets = {face: data.load("glyphs", face=face, **options) for face in FACES}
    read = {face: in_space("stage3", d.x) for face, d in sets.items()}
    seen = read if space == "stage3" else {f: in_space(space, sets[f].x) for f in FACES}
    drops, distances = [], []
    for a in FACES:
        y = sets[a].y
        new = torch.arange(len(y)) >= len(y) // 2  # the other half trains
        accuracy = probe(read[a][~new], y[~new], len(sets[a].classes))
        mean, std = seen[a][~new].mean(0), seen[a][~new].std(0) + 1e-6
        z = {face: (seen[face][new] - mean) / std for face in FACES}
        at_home = accuracy(read[a][new], y[new])
        for b in FACES:
            if b != a:
                drops.append(at_home - accuracy(read[b][new], sets[b].y[new]))
                distances.append(apart(z[a], z[b]))
    return {
        f"rho_{name}": rank_correlation([d[name] for d in distances], drops).value
        for name in DISTANCES
    }


def apart(x: Tensor, y: Tensor) -> dict[str, float]:
    return {
        "mmd": shift.mmd2(x, y).item(),
        "energy": shift.energy_distance(x, y).item(),
        "coral": shift.coral_distance(x, y).item(),
        "means": (x.mean(0) - y.mean(0)).square().sum().item(),
        "sliced": shift.sliced_wasserstein(x, y).item(),
        "proxy": shift.proxy_a_distance(x, y),
    }


def probe(z: Tensor, y: Tensor, classes: int):
    """A fitted ridge head, as a function from features and labels to accuracy."""
    mean, std = z.mean(0), z.std(0) + 1e-6
    weight, bias = ridge_probe((z - mean) / std, y, classes, 10.0)

    def accuracy(new_z: Tensor, new_y: Tensor) -> float:
        predicted = ((new_z - mean) / std @ weight.T + bias).argmax(1)
        return (predicted == new_y).double().mean().item()

    return accuracy


def bound(source: str, target: str, seed: int) -> dict[str, float]:
    """Terms of the bound of Ben-David et al. for the question: is the digit >= 5?"""
    (z_s, y_s), (z_t, y_t) = digits(source, seed), digits(target, 100 + seed)
    s, t = len(z_s) // 2, len(z_t) // 2
    accuracy = probe(z_s[:s], y_s[:s], 2)
    joint = probe(torch.cat([z_s[:s], z_t[:t]]), torch.cat([y_s[:s], y_t[:t]]), 2)
    return {
        "error_source": 1 - accuracy(z_s[s:], y_s[s:]),
        "half_divergence": shift.proxy_a_distance(z_s, z_t, seed=seed) / 2,
        "joint_error": 2 - joint(z_s[s:], y_s[s:]) - joint(z_t[t:], y_t[t:]),
        "error_target": 1 - accuracy(z_t[t:], y_t[t:]),
    }


def digits(domain: str, seed: int) -> tuple[Tensor, Tensor]:
    """1,000 digits as stage2 features, and whether they are 5 or more."""
    if domain == "handwriting":
        every = data.load("digits", size=32)
        generator = torch.Generator().manual_seed(seed)
        picks = every.subset(torch.randperm(len(every), generator=generator)[:1000])
    else:
        options = {"script": "digits", "per_class": 100, "seed": seed}
        picks = data.load("glyphs", face=domain, **options)
    return in_space("stage2", picks.x), (picks.y >= 5).long()


def design(seed: int) -> dict[str, float]:
    """Power to tell two faces apart by their stage3 features, one knob at a time."""
    options = {"script": "greek", "per_class": 60, "seed": seed}
    sets = [data.load("glyphs", face=f, **options) for f in PAIRS["STIX italic"]]
    spaces = {
        name: [in_space(name, d.x) for d in sets] for name in ("stage3", "pixels")
    }
    return {name: rejected(spaces, seed, **knobs) for name, knobs in DESIGNS.items()}


def rejected(
    spaces,
    seed,
    factors=(0.5, 2**-0.5, 1.0, 2**0.5, 2.0),
    test="mmd",
    permutations=99,
    n=60,
    space="stage3",
) -> float:
    generator = torch.Generator().manual_seed(seed)
    hits = 0.0
    for repeat in range(REPEATS):
        x, y = (
            z[torch.randperm(len(z), generator=generator)[:n]] for z in spaces[space]
        )
        median = shift.median_heuristic(x, y).item()
        widths = [f * median for f in factors]
        if test == "linear":
            estimate = shift.mmd_linear_time(x, y, widths)
            hits += bool(estimate.value > 1.645 * estimate.variance**0.5)
        elif test == "mmd":
            hits += p_value(x, y, widths, repeat, permutations) <= 0.05
        else:
            statistic = shift.energy_distance if test == "energy" else distance_of_means
            hits += (
                shift.permutation_test(
                    x, y, statistic, num_permutations=permutations, seed=repeat
                ).p_value
                <= 0.05
            )
    return hits / REPEATS


def distance_of_means(x: Tensor, y: Tensor) -> Tensor:
    return (x.mean(0) - y.mean(0)).square().sum()
