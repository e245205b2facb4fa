"""Every method on two pairs of domains, under label shift, and DANN taken apart.

Training reads no target label. Target accuracy is computed here, by the oracle: the
lesson opens the results in its last part only.
"""

import copy
import functools
import math

import torch
import torch.nn.functional as F

from tlcourse import adapt, data, metrics, shift
from tlcourse.adapt import validators
from tlcourse.features import ridge_probe

SEEDS = (0, 1, 2, 3, 4)
VALIDATORS = ("source_risk", "entropy", "information_maximisation", "snd", "dev_risk")
METRICS = {
    "accuracy": "share of right target labels (oracle)",
    "source_accuracy": "the same on source samples kept from training",
    "tv_predicted": "total variation of predicted class shares, source to target",
    **{name: f"validator {name}, higher is better" for name in VALIDATORS},
    "source_risk_home": "source_risk with the source's own BatchNorm statistics",
    "dev_risk_home": "dev_risk, the same",
    "lowest_recall": "target recall of the class that is found least (oracle)",
    "highest_recall": "the same, found most (oracle)",
    "a_distance": "proxy A-distance, features of held-out source and of target",
    "joint_error": "source error + target error, one head fitted on both (oracle)",
    "domain_loss": "discriminator's loss in the last epoch; a guess has log 2",
    "final_loss": "its loss on the final features of training source and target",
    "fresh_loss": "a fresh linear classifier's loss on them, cross-validated",
    **{
        f"{how}_{order}": f"accuracy on the stream of corrupted digits, {how}, {order}"
        for how in ("plain", "batchnorm", "tent")
        for order in ("batch64", "batch4", "sorted")
    },
}
OPTIONS = {"epochs": 12, "width": 8, "progress": False}
STRENGTHS = (0.0, 1.0, 5.0)  # weight of the MMD under label shift


def arms() -> list[dict]:
    tables = [
        {"question": "methods", "task": task, "method": method}
        for task in ("digits", "faces")
        for method in adapt.METHODS
    ]
    sweeps = [
        {"question": "label shift", "shares": shares, "strength": strength}
        for shares in ("equal", "shifted")
        for strength in STRENGTHS
    ]
    parts = [{"question": "dann", **change} for change in dann_changes()]
    longer = [
        {"question": "longer", "method": method, "epochs": 36}
        for method in ("source_only", "dann", "mcc")
    ]
    return tables + sweeps + parts + longer + [{"question": "stream"}]


def dann_changes() -> list[dict]:
    """One setting of DANN changed at a time, then all three cures left out."""
    cures = [{"schedule": False}, {"normalise": False}, {"own_statistics": False}]
    others = [{"strength": 0.3}, {"warmup": 0.3}, {"hidden": 256}]
    return [*cures, *others, {k: v for cure in cures for k, v in cure.items()}]


def run(arm: dict, seed: int) -> dict[str, float]:
    question, settings = arm.pop("question"), arm
    if question == "stream":
        return streams(seed)
    if question == "label shift":
        domains = shifted_digits(settings.pop("shares"), seed)
        return scored("dan", domains, seed, **settings)
    if question in ("dann", "longer"):
        method = settings.pop("method", "dann")
        return scored(method, domains_of("digits", seed), seed, **settings)
    return scored(settings["method"], domains_of(settings["task"], seed), seed)


@functools.lru_cache(maxsize=4)
def domains_of(task: str, seed: int):
    """Source samples to train on, source samples to validate on, the target."""
    if task == "digits":
        options = dict(script="digits", face="all", size=16, per_class=120, seed=seed)
        source, target = data.load("glyphs", **options), data.load("digits", size=16)
    else:
        options = dict(script="latin", size=16, per_class=46, seed=seed)
        source = data.load("glyphs", face="DejaVuSans", **options)
        target = data.load("glyphs", face="DejaVuSerif-Italic", **options)
    return (*source.split(0.85, 0.15, seed=seed), target)


def shifted_digits(shares: str, seed: int):
    """Digits 0-4 four times as frequent in the source, 5-9 in the target.

    With equal shares as many samples are left, so that only the shares differ.
    """
    domains = domains_of("digits", seed)
    if shares == "equal":
        keep = [torch.full((10,), 5 / 8)] * 3
    else:
        first = torch.tensor([1.0] * 5 + [1 / 4] * 5)
        keep = [first, first, first.flip(0)]
    return [thinned(d, k, seed) for d, k in zip(domains, keep, strict=True)]


def thinned(dataset, keep, seed: int):
    """Of class k the share ``keep[k]``, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for k, share in enumerate(keep.tolist()):
        members = (dataset.y == k).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        chosen.append(members[: max(1, round(share * len(members)))])
    return dataset.subset(torch.cat(chosen).sort().values)


def scored(method: str, domains, seed: int, **settings) -> dict[str, float]:
    """Adapt to the sealed target, then let validators and oracle judge."""
    train, validation, target = domains
    result = adapt.run(method, train, target.sealed(), seed, **{**OPTIONS, **settings})
    home = at_home(method, result, train, **settings)
    z_train, z_v = (adapt.training.features(home, d.x) for d in (train, validation))
    z_t = result.features(target)
    with torch.no_grad():
        logits_v, logits_t = home.head(z_v), result.model.head(z_t)
    classes = len(target.classes)
    shares = [
        logits.argmax(1).bincount(minlength=classes) / len(logits)
        for logits in (logits_v, logits_t)
    ]
    hits = metrics.confusion_matrix(logits_t.argmax(1), target.y, classes).diagonal()
    recall = hits / target.y.bincount(minlength=classes)
    losses = F.cross_entropy(logits_v, validation.y, reduction="none")
    weights = validators.dev_weights(z_v, z_train, z_t)
    return {
        "accuracy": metrics.accuracy(logits_t, target.y),
        "source_accuracy": metrics.accuracy(logits_v, validation.y),
        "tv_predicted": (shares[0] - shares[1]).abs().sum().item() / 2,
        **validators.scores(result.model, train, validation, target.sealed()),
        "source_risk_home": -losses.mean().item(),
        "dev_risk_home": -validators.dev_risk(losses, weights).item(),
        "lowest_recall": recall.min().item(),
        "highest_recall": recall.max().item(),
        "a_distance": a_distance(z_v, z_t, seed),
        "joint_error": joint_error(
            (z_train, train.y), (z_v, validation.y), (z_t, target.y), classes, seed
        ),
        **(
            game(result, (train, z_train), (target, z_t))
            if method in ("dann", "cdan")
            else {}
        ),
    }


def at_home(method: str, result, train, own_statistics: bool = True, **settings):
    """The network as the source passed it: each domain as its method treats it.

    Where the model was given the target's BatchNorm statistics, the source gets its
    own again; where both domains share the statistics, it is the model itself.
    """
    if method in ("source_only", "ot_map") or not own_statistics:
        return result.model
    return adapt.adapt_batchnorm(copy.deepcopy(result.model), train.x)


def a_distance(z_source, z_target, seed: int) -> float:
    """On equally many samples. The source's are held out.

    A network has fitted its training samples: their features differ from those of
    fresh samples of the same domain, and that is no distance of domains.
    """
    n = min(len(z_source), len(z_target))
    return shift.proxy_a_distance(
        *(rows(len(z), seed, z)[:n] for z in (z_source, z_target))
    )


def rows(n: int, seed: int, *columns):
    """The same n rows of everything, shuffled."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    shuffled = tuple(column[order] for column in columns)
    return shuffled if len(columns) > 1 else shuffled[0]


def joint_error(train, validation, target, classes: int, seed: int) -> float:
    """The bound's third term: is there one head that serves both domains?

    A ridge head fitted on source samples and as many of the target, with labels; its
    errors on the rest of both, added.
    """
    z_t, y_t = rows(len(target[0]), seed, *target)
    z_s, y_s = rows(len(train[0]), seed, *train)
    half = len(z_t) // 2
    n = min(half, len(z_s))
    z, y = torch.cat([z_s[:n], z_t[:n]]), torch.cat([y_s[:n], y_t[:n]])
    weight, bias = ridge_probe(z, y, classes, penalty=10.0)
    return sum(
        1 - metrics.accuracy(z @ weight.T + bias, y)
        for z, y in (validation, (z_t[half:], y_t[half:]))
    )


def game(result, source, target) -> dict[str, float]:
    """Does the discriminator see what a fresh classifier sees in the same features?

    ``added_loss`` is its loss without the strength, which is in the reversal only. The
    fresh classifier gets what DANN's discriminator gets. CDAN's gets the features times
    the probabilities, whose sum over the classes are the features.
    """
    batches = []
    with torch.no_grad():
        for domain, z in (source, target):
            batches.append(adapt.Batch(domain.x, z, result.model.head(z), None))
        final = result.method.loss(*batches, 1.0).item()
    z_s, z_t = (result.method.scaled(batch.z) for batch in batches)
    odds_s, odds_t = shift.domain_logits(z_s, z_t)
    prior = math.log(len(z_t) / len(z_s))  # the domains weigh the same
    fresh = F.softplus(odds_s - prior).mean() + F.softplus(prior - odds_t).mean()
    return {
        "domain_loss": result.history[-1]["added_loss"],
        "final_loss": final,
        "fresh_loss": fresh.item() / 2,
    }


def streams(seed: int) -> dict[str, float]:
    """Trained on clean handwriting, tested on faded and noisy handwriting."""
    clean, rest = data.load("digits", size=16).split(0.6, 0.4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    noise = 0.15 * torch.randn(rest.x.shape, generator=generator)
    x = (0.5 + 0.3 * (rest.x - 0.5) + noise).clamp(0, 1)
    at_random = torch.randperm(len(x), generator=generator)
    orders = {
        "batch64": (at_random, 64),
        "batch4": (at_random, 4),
        "sorted": (rest.y.argsort(stable=True), 64),
    }
    result = adapt.run("source_only", clean, x, seed, **OPTIONS)
    scores = {}
    for name, (order, size) in orders.items():
        stream, y = x[order], rest.y[order]
        scores[f"plain_{name}"] = metrics.accuracy(result.predict(stream), y)
        for how, lr in (("batchnorm", 0.0), ("tent", 1e-3)):
            model = copy.deepcopy(result.model)
            logits = adapt.tent(model, stream, lr=lr, batch_size=size)
            scores[f"{how}_{name}"] = metrics.accuracy(logits, y)
    return scores
