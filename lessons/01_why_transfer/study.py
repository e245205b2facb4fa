"""Does pretraining on one script help to read Greek, and can one tell beforehand?"""

from functools import lru_cache

import torch

from tlcourse import data, models, training, transferability

SEEDS = (0, 1, 2, 3, 4)
METRICS = {
    "accuracy": "share of right labels among 1,200 Greek test glyphs",
    "leep": "LEEP on 20 labels per class, in nats",
    "log_me": "LogME on 20 labels per class, in nats per sample and class",
    "distance": "energy distance between source and target pictures, in pixels",
}
SHOTS = (1, 2, 5, 10, 20)  # labels per class
FEW = (1, 5, 20)
SCRIPTS = ("latin", "cyrillic", "armenian", "georgian", "hebrew", "digits")
CHANGED = ("rotated", "inverted", "scrambled", "random labels")
AMOUNTS = ("one face", "1 epoch", "12 epochs")
SOURCES = (*SCRIPTS, *(f"latin, {how}" for how in (*CHANGED, *AMOUNTS)))
VARIANTS = ("finetune+augment", "finetune+slow body", "finetune+3x steps")
SIZE, WIDTH, STEPS, BATCH, LR = 16, 16, 160, 32, 3e-3


def arms() -> list[dict]:
    """Learning curves, other sources, scores before training, and knobs."""
    made = [_arm("none", "scratch", k) for k in SHOTS]
    made += [_arm("none", f"scratch+{knob}", 5) for knob in ("3x lr", "3x steps")]
    for source in SOURCES:
        known, hurt = source == "latin", source.split(", ")[-1] in CHANGED[1:]
        amount = source.split(", ")[-1] in AMOUNTS
        made += [_arm(source, "probe", k) for k in (SHOTS if known else FEW)]
        tuned = SHOTS if known else FEW if hurt else (5,) if amount else ()
        made += [_arm(source, "finetune", k) for k in tuned]
        made += [_arm(source, variant, 5) for variant in VARIANTS if known]
        made.append({"source": source, "method": "before"})
    return made


def _arm(source: str, method: str, shots: int) -> dict:
    return {"source": source, "method": method, "shots": shots}


def run(arm: dict, seed: int) -> dict[str, float]:
    """One network, adapted with few labels and tested; or scored before that."""
    source, method = arm["source"], arm["method"]
    if method == "before":
        return scores(source, seed)
    pool, test = target(seed)
    support, _ = pool.few_shot(arm["shots"], seed=seed)
    net = fresh(seed) if source == "none" else copy_of(source, seed)
    if method == "probe":
        net = probe(net, support, seed)
    else:
        finetune(net, support, seed, knob=method.partition("+")[2])
    return {"accuracy": training.evaluate(net, test).accuracy}


@lru_cache(maxsize=2)
def target(seed: int) -> tuple[data.Dataset, data.Dataset]:
    """Greek in all faces: a pool to draw labelled samples from, and a test set."""
    greek = data.load("glyphs", script="greek", face="all", size=SIZE, seed=seed)
    return greek.split(0.5, 0.5, seed=seed)


def pictures(source: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """About 2,600 source pictures, their labels, and the number of classes."""
    script, _, change = source.partition(", ")
    face = "DejaVuSans" if change == "one face" else "all"
    num_classes = len(data.load("glyphs", script=script, per_class=1).classes)
    options = {"per_class": 2600 // num_classes, "size": SIZE, "seed": 100 + seed}
    drawn = data.load("glyphs", script=script, face=face, **options)
    x, y = drawn.x, drawn.y
    generator = torch.Generator().manual_seed(seed)
    if change == "rotated":
        x = x.rot90(1, (2, 3)).contiguous()
    elif change == "inverted":
        x = 1 - x
    elif change == "scrambled":  # one fixed permutation of the pixels
        order = torch.randperm(SIZE * SIZE, generator=generator)
        x = x.flatten(1)[:, order].view_as(x)
    elif change == "random labels":
        y = y[torch.randperm(len(y), generator=generator)]
    return x, y, num_classes


@lru_cache(maxsize=2)
def pretrained(source: str, seed: int) -> models.SmallResNet:
    """A small ResNet trained on the source; not to be changed."""
    x, y, num_classes = pictures(source, seed)
    change = source.partition(", ")[2]
    epochs = int(change.split()[0]) if "epoch" in change else 4
    net = fresh(seed, num_classes)
    training.fit(net, (x, y), epochs=epochs, lr=LR, seed=seed, progress=False)
    return net


def fresh(seed: int, num_classes: int = 24) -> models.SmallResNet:
    """The network with random weights."""
    torch.manual_seed(seed)
    return models.small_resnet(num_classes, width=WIDTH)


def copy_of(source: str, seed: int) -> models.SmallResNet:
    """The pretrained network with a fresh head for the 24 Greek letters."""
    old = pretrained(source, seed)
    net = fresh(seed, old.head.out_features)
    net.load_state_dict(old.state_dict())
    return models.replace_head(net, 24)


def probe(net: models.SmallResNet, support: data.Dataset, seed: int) -> torch.nn.Module:
    """A linear head on frozen, standardised features."""
    z = training.predict(Frozen(net), support)  # (n, d)
    frozen = Frozen(net, z.mean(0), z.std(0) + 1e-3)
    _fit(net.head, (training.predict(frozen, support), support.y), seed, lr=1e-2)
    return torch.nn.Sequential(frozen, net.head)


def finetune(
    net: models.SmallResNet, support: data.Dataset, seed: int, knob: str = ""
) -> None:
    """Train all weights, with one knob changed if it is named."""
    options = {}
    if knob == "augment":
        options["augment"] = _jitter
    if knob == "slow body":
        body = [p for name, p in net.named_parameters() if "head" not in name]
        groups = [{"params": body, "lr": LR / 10}, {"params": net.head.parameters()}]
        options["optimizer"] = torch.optim.AdamW(groups, lr=LR, weight_decay=0.0)
    lr, steps = 3 * LR if knob == "3x lr" else LR, STEPS
    if knob == "3x steps":
        steps *= 3
    _fit(net, support, seed, lr, steps, **options)


def _fit(model, samples, seed, lr=LR, steps=STEPS, **options) -> None:
    n = len(samples[0] if isinstance(samples, tuple) else samples)
    epochs = -(-steps // -(-n // BATCH))  # the same steps for every n
    options |= {"batch_size": BATCH, "seed": seed, "progress": False}
    training.fit(model, samples, epochs=epochs, lr=lr, **options)


def _jitter(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    draw = int(torch.randint(2**31, (), generator=generator))
    return data.jitter_images(x, strength=0.5, seed=draw)


class Frozen(torch.nn.Module):
    """Features of a network, standardised by fixed numbers, ``(b, d)``."""

    def __init__(self, net: models.SmallResNet, mean=0.0, deviation=1.0) -> None:
        super().__init__()
        self.net, self.mean, self.deviation = net, mean, deviation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of pictures ``(b, 1, h, w)``."""
        return (self.net.features(x) - self.mean) / self.deviation


def scores(source: str, seed: int) -> dict[str, float]:
    """What can be known of a source model before any training on the target."""
    net, pool = pretrained(source, seed), target(seed)[0]
    support, _ = pool.few_shot(20, seed=seed)
    z = training.predict(Frozen(net), support)  # (480, d)
    z = torch.cat([z, torch.ones(len(z), 1)], dim=1)  # an intercept
    guesses = training.predict(net, support).softmax(1)
    x = pictures(source, seed)[0]
    return {
        "leep": transferability.leep(guesses, support.y).item(),
        "log_me": transferability.log_me(z, support.y).item(),
        "distance": energy_distance(x[:1000], pool.x[:1000]),
    }


def energy_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|; 0 for equal distributions."""
    x, y = x.flatten(1), y.flatten(1)

    def within(z: torch.Tensor) -> torch.Tensor:
        return torch.pdist(z).mean()

    return (2 * torch.cdist(x, y).mean() - within(x) - within(y)).item()
