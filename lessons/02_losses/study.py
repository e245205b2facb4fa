"""Which loss helps a target task with few labels, and at what price?"""

import copy
from functools import lru_cache

import torch
import torch.nn.functional as F

from tlcourse import data, losses, models, seed_everything, training
from tlcourse.metrics import accuracy, expected_calibration_error

SEEDS = (0, 1, 2, 3, 4)
METRICS = {
    "accuracy": "share of right labels on held-out target pictures",
    "source_accuracy": "share of right source labels, with the old head put back",
    "ece": "expected calibration error on held-out target pictures",
}
SHOTS, ALPHAS, STEPS = 5, (0.01, 0.1, 1.0, 10.0), 250


def arms():
    """Regularised fine-tuning, distillation to a small net, label smoothing."""
    pulls = [{"method": "none"}, {"method": "weight_decay", "strength": 0.01}]
    pulls += [{"method": "l2_sp", "strength": alpha} for alpha in ALPHAS]
    pulls += [{"method": "frozen"}]
    tuned = [{"target": t, **pull} for t in ("greek", "handwriting") for pull in pulls]
    taught = [{"student": "labels"}, {"student": "hard"}]
    taught += [{"student": "soft", "T": T, "scaled": True} for T in (1, 4, 20)]
    taught += [{"student": "soft", "T": T, "scaled": False} for T in (4, 20)]
    return tuned + taught + [{"smoothing": eps} for eps in (0.0, 0.1, 0.3)]


def run(arm, seed):
    """One training with one seed."""
    experiments = {"target": _tune, "student": _distil, "smoothing": _smooth}
    return next(f for key, f in experiments.items() if key in arm)(arm, seed)


@lru_cache(maxsize=1)
def letters():
    """Rendered Latin letters, 26 classes, in all faces: train and test."""
    options = {"script": "latin", "face": "all", "per_class": 200, "size": 16}
    return data.load("glyphs", **options).split(0.85, 0.15)


@lru_cache(maxsize=2)
def target_data(name):
    """Rendered Greek letters (near) or real handwritten digits (far)."""
    if name == "handwriting":
        return data.load("digits", size=16)
    options = {"script": "greek", "face": "all", "per_class": 60, "size": 16}
    return data.load("glyphs", **options)


@lru_cache(maxsize=1)
def pretrained(seed):
    """The source model: a small ResNet on the Latin letters."""
    seed_everything(seed)
    net = models.small_resnet(26, width=8)
    training.fit(net, letters()[0], epochs=6, lr=3e-3, seed=seed, progress=False)
    return net


def _tune(arm, seed):
    """Fine-tune on a few labels: everything, with or without a penalty, or the head."""
    support, rest = target_data(arm["target"]).few_shot(SHOTS, seed=seed)
    source = pretrained(seed)
    model = copy.deepcopy(source)
    seed_everything(seed)
    models.replace_head(model, len(support.classes))
    if arm["method"] == "frozen":
        model.requires_grad_(False).head.requires_grad_(True)
    start = {n: p.detach().clone() for n, p in source.named_parameters()}
    params = dict(model.named_parameters())
    strength = arm.get("strength")

    def loss(logits, y):
        value = F.cross_entropy(logits, y)
        if arm["method"] == "l2_sp":
            return value + losses.l2_sp(params, start, alpha=strength)
        if arm["method"] == "weight_decay":  # no source: everything goes to zero
            return value + losses.l2_sp(params, {}, beta=strength)
        return value

    options = {"epochs": 50, "lr": 3e-3, "batch_size": 32, "loss": loss, "seed": seed}
    training.fit(model, support, progress=False, **options)
    reached = training.evaluate(model, rest).accuracy
    model.head = source.head
    kept = training.evaluate(model, letters()[1]).accuracy
    return {"accuracy": reached, "source_accuracy": kept}


@lru_cache(maxsize=1)
def taught_data(seed):
    """Labelled pictures of the teacher, a pool without labels, and a test part."""
    return data.load("digits", size=16).split(0.4, 0.3, 0.3, seed=seed)


@lru_cache(maxsize=1)
def teacher(seed):
    """A net about 50 times as large as the student, trained on all labels."""
    seed_everything(seed)
    net = models.small_resnet(10, width=16)
    labelled = taught_data(seed)[0]
    training.fit(net, labelled, epochs=12, lr=3e-3, seed=seed, progress=False)
    return net


def _distil(arm, seed):
    """Two labels per class, and for a taught student the pool beside them."""
    labelled, pool, test = taught_data(seed)
    support, _ = labelled.few_shot(2, seed=seed)
    answers = training.predict(teacher(seed), pool)
    seed_everything(seed)
    student = models.small_resnet(10, width=2)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    student.train()
    for _ in range(STEPS):
        own = torch.randint(len(support), (32,))
        taught = torch.randint(len(pool), (32,))
        z = student(torch.cat([support.x[own], pool.x[taught]]))
        loss = F.cross_entropy(z[:32], support.y[own])
        loss = loss + _teaching(arm, z[32:], answers[taught])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    logits = training.predict(student, test)
    return _scores(logits, test.y)


def _teaching(arm, logits, answers):
    """What the student learns from the teacher's logits."""
    if arm["student"] == "labels":
        return 0.0
    if arm["student"] == "hard":
        return F.cross_entropy(logits, answers.argmax(1))
    loss = losses.distillation_loss(logits, answers, arm["T"])
    return loss if arm["scaled"] else loss / arm["T"] ** 2


def _smooth(arm, seed):
    """From scratch on 20 handwritten digits per class."""
    pool, test = data.load("digits", size=16).split(0.6, 0.4, seed=seed)
    support, _ = pool.few_shot(20, seed=seed)
    seed_everything(seed)
    model = models.small_resnet(10, width=8)

    def loss(logits, y):
        return losses.label_smoothing_ce(logits, y, arm["smoothing"])

    options = {"epochs": 40, "lr": 3e-3, "loss": loss, "seed": seed}
    training.fit(model, support, progress=False, **options)
    return _scores(training.predict(model, test), test.y)


def _scores(logits, y):
    ece = expected_calibration_error(logits.softmax(1), y)
    return {"accuracy": accuracy(logits, y), "ece": ece}
