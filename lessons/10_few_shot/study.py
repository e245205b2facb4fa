"""Episodes or a plain classifier? One small network, trained in many ways."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import data, meta, models, training

SEEDS = (0, 1, 2, 3, 4)
TRAINED = (("latin", None), ("latin", "upper"), ("cyrillic", None))
SCRIPTS = ("greek", "hebrew", "arabic", "canadian", "tifinagh", "lisu")
SHAPES = {"5w1s": (5, 1, 10), "5w5s": (5, 5, 10)}  # ways, shots, queries
SHAPES |= {"20w1s": (20, 1, 5), "20w5s": (20, 5, 5)}
QUERIES = 5  # per class in a training episode
TWIN = 0.75  # likeness from which two letters are one
PICTURES = 30_000  # seen in training, whatever the method
LR = {"prototypical": 6e-3, "matching": 3e-3, "relation": 3e-4, "plain": 6e-3}
METRICS = {
    **{f"near_{s}": f"accuracy at {s}, Armenian and Georgian" for s in SHAPES},
    "near_half": "half width of the interval over episodes of near_5w1s",
    **{f"unit_{s}": f"near_{s}, features of length 1" for s in SHAPES},
    **{f"ridge_{s}": f"near_{s}, ridge on features of length 1" for s in SHAPES},
    "seen": "5-way 1-shot, new pictures of trained letters",
    **{s: f"5-way 1-shot, {s}, letters without a trained twin" for s in SCRIPTS},
    "lisu_twins": "5-way 1-shot, Lisu letters with a trained twin",
    "digits": "5-way 1-shot, handwritten digits",
}


def arms() -> list[dict]:
    """One training each: four shapes of episode, other methods, controls."""
    shapes = [(n, k) for n in (5, 20) for k in (1, 5)]
    proto = [dict(method="prototypical", ways=n, shots=k) for n, k in shapes]
    twenty, plain = dict(method="prototypical", ways=20, shots=1), dict(method="plain")
    matching = dict(method="matching", ways=20, shots=1)
    return [
        *proto,
        *(dict(matching, temperature=t) for t in (0.1, 1.0)),
        dict(method="relation", ways=5, shots=1),
        plain,
        *(dict(arm, pictures=2 * PICTURES) for arm in (twenty, plain)),
        *(dict(arm, letters=24) for arm in (twenty, plain)),
        *(dict(method=name) for name in ("glyphnet", "random", "pixels")),
    ]


def run(arm: dict, seed: int) -> dict[str, float]:
    """Train, then test on episodes of letters that were not trained on."""
    embed, head = learnt(arm, seed)
    near, scores = embedded(embed, *letters("armenian", "georgian")), {}
    heads, shapes, others = {"near": (near, head)}, SHAPES, other_tests(arm["method"])
    if arm["method"] == "relation":  # its head makes testing slow
        shapes, others = ("5w1s", "5w5s"), {"greek": others["greek"]}
    if arm["method"] in ("prototypical", "plain", "glyphnet"):
        unit = F.normalize(near[0], dim=1), near[1]
        heads |= {"unit": (unit, None), "ridge": (unit, meta.RidgeProbe(1.0))}
    for name, (part, probe) in heads.items():
        for shape in shapes:
            result = tested(part, shape, probe, seed)
            scores[f"{name}_{shape}"] = result.interval.value
            if name == "near" and shape == "5w1s":
                scores["near_half"] = result.interval.high - result.interval.value
    for name, part in others.items():
        result = tested(embedded(embed, *part), "5w1s", head, seed)
        scores[name] = result.interval.value
    return scores


@torch.no_grad()
def embedded(embed, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``(n, d)`` and labels; the network is in eval mode after training."""
    return torch.cat([embed(batch) for batch in x.split(256)]), y


def tested(part, shape: str, head, seed: int) -> meta.FewShotResult:
    """600 episodes; equal seeds draw equal ones, so that methods can be paired."""
    ways, shots, queries = SHAPES[shape]
    options = dict(head=head, episodes=600, seed=seed, progress=False)
    identity = nn.Identity()
    return meta.few_shot_accuracy(identity, part, ways, shots, queries, **options)


def learnt(arm: dict, seed: int):
    """The features of a trained network, and the head that goes with them."""
    method = arm["method"]
    if method == "pixels":
        return nn.Flatten(), None
    if method == "glyphnet":
        return models.load("glyphnet").features, None
    torch.manual_seed(seed)
    train = training_set()
    if "letters" in arm:
        few = train[1] < arm["letters"]
        train = train[0][few], train[1][few]
    net = Conv4(num_classes=int(train[1].max()) + 1)
    pictures = arm.get("pictures", PICTURES)
    if method == "random":
        return net.eval().features, None
    options = dict(lr=LR[method], seed=seed, progress=False)
    if method == "plain":
        epochs = round(pictures / len(train[0]))
        training.fit(net, train, epochs=epochs, **options)
        return net.features, None
    head, ways, shots = head_for(arm), arm["ways"], arm["shots"]
    embed = net.body if method == "relation" else net.features
    steps = pictures // (ways * (shots + QUERIES))
    shape = dict(num_ways=ways, num_shots=shots, num_queries=QUERIES)
    meta.train_episodes(embed, train, head=head, steps=steps, **shape, **options)
    return embed, head


def head_for(arm: dict) -> nn.Module:
    if arm["method"] == "matching":
        return meta.Matching(arm["temperature"])
    if arm["method"] == "relation":
        return meta.Relation(32, maps=True)
    return meta.Prototypical()


def other_tests(method: str) -> dict:
    """Test sets beside the near one; glyphnet has trained on digits."""
    sets = {name: letters(name) for name in SCRIPTS}
    sets["seen"] = training_set(seed=2, per_class=20)
    sets["lisu_twins"] = letters("lisu", twins=True)
    if method != "glyphnet":
        digits = data.load("digits", size=32)
        sets["digits"] = digits.x, digits.y
    return sets


class Conv4(nn.Module):
    """Four blocks of convolution, BatchNorm, ReLU and pooling (Vinyals et al., 2016).

    Slimmer than theirs: 32 channels, and the first convolution has a stride of 2. The
    last block has no ReLU, so that no feature vector is 0.
    """

    def __init__(self, width: int = 32, num_classes: int = 2) -> None:
        super().__init__()
        sizes = [(1, width // 2), (width // 2, width), (width, width), (width, width)]
        blocks = []
        for i, o in sizes:
            first = dict(kernel_size=5, stride=2, padding=2)
            rest = dict(kernel_size=3, padding=1)
            conv = nn.Conv2d(i, o, bias=False, **(first if i == 1 else rest))
            blocks += [conv, nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*blocks[:-2])
        self.feature_dim = width
        self.head = nn.Linear(width, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).amax((2, 3))  # (b, width), of maps 2 x 2

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@lru_cache
def outlines(script: str, case: str | None = None) -> Tensor:
    """Clean letters, each blown up to a common box: ``(num_classes, 24 * 24)``."""
    clean = data.load(
        "glyphs", script=script, case=case, per_class=1, size=64, jitter=0
    )
    boxes = []
    for glyph in clean.x[:, 0]:
        rows, columns = ((glyph > 0.3).any(d).nonzero().flatten() for d in (1, 0))
        ink = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        h, w = ink.shape
        left, top = (max(h, w) - w) // 2, (max(h, w) - h) // 2
        ink = F.pad(ink, (left, max(h, w) - w - left, top, max(h, w) - h - top))
        boxes.append(F.interpolate(ink[None, None], (24, 24), mode="area").flatten())
    return torch.stack(boxes)


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """Shared ink over all ink, ``(n, m)`` in [0, 1]."""
    a, b = a[:, None], b[None]
    return torch.minimum(a, b).sum(2) / torch.maximum(a, b).sum(2)


@lru_cache
def trained_outlines() -> Tensor:
    return torch.cat([outlines(*part) for part in TRAINED])


@lru_cache
def training_set(seed: int = 0, per_class: int = 48) -> tuple[Tensor, Tensor]:
    """Pictures and labels of Latin and Cyrillic letters, of twins only the first."""
    alike = likeness(trained_outlines(), trained_outlines()) >= TWIN
    kept = []
    for i in range(len(alike)):
        if not alike[i, kept].any():
            kept.append(i)
    return gather(TRAINED, kept, per_class, seed)


@lru_cache
def letters(*scripts: str, twins: bool = False) -> tuple[Tensor, Tensor]:
    """Pictures and labels of the letters with, or without, a trained twin."""
    shapes = torch.cat([outlines(script) for script in scripts])
    has_twin = (likeness(shapes, trained_outlines()) >= TWIN).any(1)
    kept = (has_twin == twins).nonzero().flatten().tolist()
    return gather([(script, None) for script in scripts], kept, 40, seed=1)


def gather(parts, kept, per_class, seed) -> tuple[Tensor, Tensor]:
    options = dict(face="all", per_class=per_class, seed=seed)
    x, y, start = [], [], 0
    for script, case in parts:
        part = data.load("glyphs", script=script, case=case, **options)
        x.append(part.x)
        y.append(part.y + start)
        start += len(part.classes)
    x, y = torch.cat(x), torch.cat(y)
    chosen = torch.isin(y, torch.tensor(kept))
    return x[chosen], y[chosen].unique(return_inverse=True)[1]
