"""What to train, by labels and distance; forgetting; design choices; soups; LoRA."""

import copy
import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import data, models, training
from tlcourse.features import extract_features, freeze, nearest
from tlcourse.losses import ewc_penalty, l2_sp
from tlcourse.models import Mlp, add_lora, replace_head
from tlcourse.tuning import (
    bitfit,
    fisher_diagonal,
    gradual_unfreeze,
    param_groups,
    uniform_soup,
    warmup_cosine,
    wise_ft,
)

SEEDS = (0, 1, 2, 3, 4)
TARGETS = ("greek", "handwriting", "textures")
SHOTS = (1, 5, 20)
SCRIPTS = (
    ("digits", None),
    ("latin", "lower"),
    ("latin", "upper"),
    ("cyrillic", "lower"),
)
FORGETTING = (
    ("source", (0.0,)),
    ("full", (0.0,)),
    ("full, BatchNorm by batch", (0.0,)),
    ("head only", (0.0,)),
    ("L2-SP", (0.1, 1.0, 10.0)),
    ("EWC", (10.0, 100.0, 1000.0)),
    ("replay", (0.1, 1.0)),
    ("WiSE-FT", (0.25, 0.5, 0.75)),
)
CHOICES = (
    "reference",
    "step size x 3",
    "step size / 3",
    "constant step size",
    "discriminative rates",
    "gradual unfreezing",
    "BatchNorm frozen",
    "biases and head (BitFit)",
    "LP-FT",
    "LP-FT, BatchNorm frozen",
    "L2-SP",
    "weight decay 0.1",
    "augmentation",
    "stop on held-out labels",
)
CONTROLS = ("reference", "BatchNorm frozen", "LP-FT", "LP-FT, BatchNorm frozen")
CHOSEN = (("handwriting", CHOICES), ("greek", CONTROLS), ("textures", CONTROLS))
RANKS = (1, 4, 16, 64)
LAYERS = ("body.1", "body.3")
UPRIGHT = ("DejaVuSans", "DejaVuSansMono")
BATCH = 16
STEPS = {1: 60, 5: 80, 20: 90}  # by labels per class
METRICS = {
    "distance": "1 - mean cosine to the nearest source picture, glyphnet features",
    "scratch": "share of right target labels, all weights from random ones",
    "head": "the same, head only on frozen features",
    "full": "the same, all weights from glyphnet and a random head",
    "lp_ft": "the same, head first, then all weights",
    "inside_head": "the same, unseen pictures in the faces of training, head only",
    "inside_full": "the same, full fine-tuning",
    "inside_lp_ft": "the same, LP-FT",
    "outside_head": "the same, pictures in other faces, head only",
    "outside_full": "the same, full fine-tuning",
    "outside_lp_ft": "the same, LP-FT",
    "target": "share of right target labels",
    "source": "share of right source labels, 94 classes",
    "single": "mean of the target accuracies of four fine-tuned networks",
    "best": "the largest of them, chosen on the test set: a ceiling",
    "soup": "target accuracy of the mean of their weights",
    "ensemble": "target accuracy of the mean of their probabilities",
    "one_stranger": "mean accuracy of two networks, each from its own random weights",
    "strangers": "accuracy of the mean of their weights",
    "trained": "number of weights that learn",
}


def arms() -> list[dict]:
    arms = [{"question": "distance", "target": target} for target in TARGETS]
    arms += [
        {"question": "map", "target": target, "shots": shots}
        for target in TARGETS
        for shots in SHOTS
    ]
    arms += [{"question": "faces"}, {"question": "soup"}]
    arms += [
        {"question": "forgetting", "method": method, "strength": strength}
        for method, strengths in FORGETTING
        for strength in strengths
    ]
    arms += [
        {"question": "choices", "target": target, "choice": choice}
        for target, names in CHOSEN
        for choice in names
    ]
    arms += [{"question": "lora", "rank": rank} for rank in (0, *RANKS, -1)]
    return arms


def run(arm: dict, seed: int) -> dict[str, float]:
    arm = dict(arm)
    questions = {
        "distance": distance,
        "map": regime,
        "faces": faces,
        "soup": soup,
        "forgetting": forgetting,
        "choices": choices,
        "lora": lora,
    }
    return questions[arm.pop("question")](seed=seed, **arm)


def target_data(name: str, shots: int, seed: int):
    """Labelled samples and at most 400 others; of textures, disjoint regions."""
    if name == "textures":
        pool, test = data.load("textures").split(0.5, 0.5, seed=seed)
        return pool.few_shot(shots, seed=seed)[0], test
    support, rest = pool_of(name).few_shot(shots, seed=seed)
    return support, some(rest, 400, seed)


@functools.cache
def pool_of(name: str):
    if name == "handwriting":
        return data.load("digits", size=32)
    return data.load("glyphs", script=name, face="all", per_class=48, seed=9)


def some(dataset, count: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    return dataset.subset(torch.randperm(len(dataset), generator=generator)[:count])


@functools.cache
def source_data(per_class: int, seed: int):
    """Pictures of glyphnet's 94 classes, with its own class numbers."""
    known, xs, ys = models.glyphnet_classes(), [], []
    for script, case in SCRIPTS:
        glyphs = data.load(
            "glyphs",
            script=script,
            case=case,
            face="all",
            per_class=per_class,
            seed=seed,
        )
        names = [" ".join(filter(None, (script, case, c))) for c in glyphs.classes]
        xs.append(glyphs.x)
        ys.append(torch.tensor([known.index(name) for name in names])[glyphs.y])
    return torch.cat(xs), torch.cat(ys)


def fresh(num_classes: int, seed: int, weights: str | None = "default"):
    torch.manual_seed(seed)
    return models.load("glyphnet", weights=weights, num_classes=num_classes)


def epochs_for(steps: int, samples: int) -> int:
    return math.ceil(steps / math.ceil(samples / BATCH))


def fit(model, train, steps: int, seed: int, lr: float = 1e-3, **options):
    settings = dict(epochs=epochs_for(steps, len(train)), batch_size=BATCH)
    settings.update(lr=lr, seed=seed, progress=False)
    training.fit(model, train, **{**settings, **options})
    return model


def probe(model, train, seed: int):
    """Head only, on cached features: the same as training on a frozen body."""
    z = extract_features(model, train.x, "stage3")
    fit(model.head, (z, train.y), 100, seed, lr=1e-2)
    return model


def freeze_norms(model):
    """BatchNorm as the source left it: statistics, scale and shift."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            freeze(part)
    return model


def accuracy(model, test) -> float:
    return training.evaluate(model, test).accuracy


def distance(target: str, seed: int) -> dict[str, float]:
    """How far 300 unlabelled target pictures are from the nearest source picture."""
    net = models.load("glyphnet")
    test = some(target_data(target, 1, seed)[1], 240, seed)
    z = extract_features(net, test.x, "stage3")
    z_source = extract_features(net, source_data(11, 2)[0], "stage3")
    _, cosine = nearest(z_source, z, k=1)
    return {"distance": 1 - cosine.mean().item()}


def regime(target: str, shots: int, seed: int) -> dict[str, float]:
    train, test = target_data(target, shots, seed)
    steps, classes = STEPS[shots], len(train.classes)
    blank = fresh(classes, seed, weights=None)
    scores = {"scratch": accuracy(fit(blank, train, steps, seed, lr=3e-3), test)}
    scores["full"] = accuracy(fit(fresh(classes, seed), train, steps, seed), test)
    tuned = probe(fresh(classes, seed), train, seed)
    scores["head"] = accuracy(tuned, test)
    scores["lp_ft"] = accuracy(fit(tuned, train, steps, seed), test)
    return scores


def faces(seed: int) -> dict[str, float]:
    """Georgian: train on two upright faces, test on them and on ten others."""
    known = data.load("glyphs", script="georgian", face=UPRIGHT, per_class=24, seed=9)
    others = tuple(f for f in data.faces_of("georgian") if f not in UPRIGHT)
    outside = data.load("glyphs", script="georgian", face=others, per_class=20, seed=9)
    train, inside = known.few_shot(5, seed=seed)
    full, tuned = (fresh(len(train.classes), seed) for _ in range(2))
    nets = {"full": fit(freeze_norms(full), train, 100, seed)}
    nets["head"] = copy.deepcopy(probe(tuned, train, seed))
    nets["lp_ft"] = fit(freeze_norms(tuned), train, 100, seed)
    parts = {"inside": inside, "outside": outside}
    return {
        f"{where}_{name}": accuracy(net, part)
        for where, part in parts.items()
        for name, net in nets.items()
    }


def soup(seed: int) -> dict[str, float]:
    """Four runs that differ in order and step size; then two from other weights."""
    train, test = target_data("handwriting", 5, seed)
    base = probe(fresh(10, seed), train, seed)
    rates = (3e-4, 1e-3, 1e-3, 2e-3)
    members = [
        fit(freeze_norms(copy.deepcopy(base)), train, 80, 10 * seed + i, lr=lr)
        for i, lr in enumerate(rates)
    ]
    strangers = [
        fit(fresh(10, 10 * seed + i, weights=None), train, 80, seed, lr=3e-3)
        for i in range(2)
    ]
    chances = torch.stack([training.predict(m, test).softmax(1) for m in members])
    mixed, strange = copy.deepcopy(base), copy.deepcopy(strangers[0])
    mixed.load_state_dict(uniform_soup([m.state_dict() for m in members]))
    strange.load_state_dict(uniform_soup([m.state_dict() for m in strangers]))
    alone = [accuracy(m, test) for m in members]
    return {
        "single": sum(alone) / len(alone),
        "best": max(alone),
        "soup": accuracy(mixed, test),
        "ensemble": (chances.mean(0).argmax(1) == test.y).float().mean().item(),
        "one_stranger": sum(accuracy(m, test) for m in strangers) / 2,
        "strangers": accuracy(strange, test),
    }


def forgetting(method: str, strength: float, seed: int) -> dict[str, float]:
    """Font digits to handwriting with glyphnet's own 94-way head."""
    train, test = target_data("handwriting", 10, seed)
    net = models.load("glyphnet")
    if method == "WiSE-FT":
        start, end = net.state_dict(), tuned_state(seed)
        net.load_state_dict(wise_ft(start, end, strength))
    elif method == "full":
        net.load_state_dict(tuned_state(seed))
    elif method != "source":
        continue_source(net, train, method, strength, seed)
    return {
        "target": accuracy(net, test),
        "source": accuracy(net, source_data(6, 1)),
    }


@functools.cache
def tuned_state(seed: int):
    net = models.load("glyphnet")
    continue_source(net, target_data("handwriting", 10, seed)[0], "full", 0.0, seed)
    return net.state_dict()


@functools.cache
def source_fisher():
    """Fisher diagonal of 282 source pictures, one label each drawn from the model."""
    net, x = models.load("glyphnet"), source_data(3, 3)[0]
    generator = torch.Generator().manual_seed(0)
    chances = training.predict(net, x).softmax(1)
    drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
    return fisher_diagonal(net, (x, drawn), labels="data", progress=False)


def continue_source(net, train, method: str, strength: float, seed: int) -> None:
    """80 steps of AdamW on the target, with a penalty or with source pictures."""
    if method == "head only":
        freeze(net, except_for=["head"])
    elif method != "full, BatchNorm by batch":
        freeze_norms(net)
    learning = {n: p for n, p in net.named_parameters() if p.requires_grad}
    start = {n: p.detach().clone() for n, p in learning.items()}
    memory = source_data(11, 2)
    optimizer = torch.optim.AdamW(learning.values(), lr=1e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    net.train()
    for _ in range(80):
        i = torch.randperm(len(train), generator=generator)[:BATCH]
        loss = F.cross_entropy(net(train.x[i]), train.y[i])
        if method == "L2-SP":
            loss = loss + l2_sp(learning, start, alpha=strength, beta=0.0)
        elif method == "EWC":
            loss = loss + ewc_penalty(learning, start, source_fisher(), strength)
        elif method == "replay":
            j = torch.randint(len(memory[0]), (BATCH,), generator=generator)
            loss = loss + strength * F.cross_entropy(net(memory[0][j]), memory[1][j])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()


def choices(target: str, choice: str, seed: int) -> dict[str, float]:
    """One change against full fine-tuning with warm-up and cosine, 5 labels."""
    train, test = target_data(target, 5, seed)
    net = fresh(len(train.classes), seed)
    if choice.startswith("LP-FT"):
        probe(net, train, seed)
    if choice.endswith("BatchNorm frozen"):
        freeze_norms(net)
    if choice.startswith("biases"):
        bitfit(net, except_for=["head"])
    options, lr = (
        {},
        {"step size x 3": 3e-3, "step size / 3": 1e-3 / 3}.get(choice, 1e-3),
    )
    if choice == "augmentation":
        options["augment"] = augment
    if choice == "L2-SP":
        start = {n: p.detach().clone() for n, p in net.named_parameters()}
        start = {n: p for n, p in start.items() if not n.startswith("head")}
        options["loss"] = lambda z, y: (
            F.cross_entropy(z, y) + l2_sp(dict(net.named_parameters()), start, 0.1)
        )
    if choice == "stop on held-out labels":
        train, held = train.few_shot(4, seed=seed)
        options.update(validation=held, patience=5)
    decay = 0.1 if choice == "weight decay 0.1" else 0.0
    factor = 2.6 if choice == "discriminative rates" else 1.0
    groups = param_groups(net, lr, factor=factor)
    optimizer = torch.optim.AdamW(groups, weight_decay=decay)
    if choice != "constant step size":
        follow_cosine(optimizer, STEPS[5])
    if choice == "gradual unfreezing":
        thaw(net, train, optimizer, seed)
    else:
        fit(net, train, STEPS[5], seed, optimizer=optimizer, **options)
    return {"target": accuracy(net, test)}


def follow_cosine(optimizer, steps: int) -> None:
    """Warm-up and cosine, moved on by every step of the optimiser itself."""
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: warmup_cosine(t, steps + 20, steps // 10)
    )
    optimizer.register_step_post_hook(lambda *_: schedule.step())


def thaw(net, train, optimizer, seed: int) -> None:
    """One more stage learns every fifth of the epochs."""
    epochs = epochs_for(STEPS[5], len(train))
    for epoch in range(epochs):
        gradual_unfreeze(net, epoch, every=math.ceil(epochs / 5))
        settings = dict(epochs=1, batch_size=BATCH, seed=1000 * seed + epoch)
        training.fit(net, train, optimizer=optimizer, progress=False, **settings)


def augment(x, generator):
    seed = int(torch.randint(2**31, (), generator=generator))
    return data.jitter_images(x, 0.7, seed=seed)


def small(x):
    return F.avg_pool2d(x, 2)  # (n, 1, 16, 16)


@functools.cache
def pretrained_mlp():
    """Two hidden layers of 256, trained on glyphnet's 94 source classes."""
    torch.manual_seed(0)
    net, (x, y) = Mlp(256, [256, 256], 94), source_data(44, 4)
    options = dict(epochs=12, lr=1e-3, batch_size=64, progress=False)
    training.fit(net, (small(x), y), **options)
    return net


def lora(rank: int, seed: int) -> dict[str, float]:
    """Georgian, 20 labels; rank 0 is the head alone, -1 all weights."""
    train, test = target_data("georgian", 20, seed)
    torch.manual_seed(seed)
    net = replace_head(copy.deepcopy(pretrained_mlp()), 33)
    lr = 1e-3
    if rank >= 0:
        freeze(net, except_for=["head"])
        lr = 3e-3
    if rank > 0:
        add_lora(net, LAYERS, rank, alpha=16)
    options = dict(epochs=15, lr=lr, batch_size=32, seed=seed, progress=False)
    training.fit(net, (small(train.x), train.y), **options)
    count = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return {"target": accuracy(net, (small(test.x), test.y)), "trained": count}
