"""MAML and its cheaper relatives on waves, on glyph episodes, and for walkers."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap

from tlcourse import data, meta, training

SEEDS = (0, 1, 2, 3, 4)
AFTER = (0, 1, 5, 10)  # inner steps at which waves are measured
METRICS = {
    **{f"median_{n}": f"median squared error of 600 waves, {n} steps" for n in AFTER},
    "mean_10": "mean squared error of 600 waves after 10 steps",
    "low_10": "10 % quantile of these errors",
    "high_10": "90 % quantile of these errors",
    "max_10": "largest of these errors",
    "rate": "inner rate, the best of RATES after 10 steps on 200 other waves",
    "accuracy": "share of right queries after 10 inner steps, 300 episodes",
    "accuracy_3": "the same after 3 inner steps, as in training",
    "accuracy_0": "the same before adaptation",
    "by_class": "the same as accuracy, queries in batches of one class",
    "prototypes": "share of right queries by nearest class mean of the features",
    **{f"return_{n}": f"mean return of 100 goals after {n} updates" for n in range(4)},
}
RATES = (0.001, 0.003, 0.01, 0.02, 0.05)
WAVES = ("maml", "fomaml", "anil", "reptile", "joint", "scratch")
GLYPHS = ("maml", "fomaml", "anil", "reptile", "protonet", "probe", "random")
UPDATED = ("maml", "fomaml", "anil", "protonet")  # the same episodes, 4 an update
WALKERS = ("naive", "e-maml", "dice", "fomaml", "joint")


def arms() -> list[dict]:
    waves = [{"question": "waves", "method": name} for name in WAVES]
    glyphs = [{"question": "glyphs", "method": name} for name in GLYPHS]
    updates = [{"question": "updates", "method": name} for name in UPDATED]
    batchnorm = [{"question": "batchnorm", "method": "maml"}]
    walkers = [{"question": "walkers", "method": name} for name in WALKERS]
    return waves + glyphs + updates + batchnorm + walkers


def run(arm: dict, seed: int) -> dict[str, float]:
    if arm["question"] == "waves":
        return waves(arm["method"], seed)
    if arm["question"] == "walkers":
        return walkers(arm["method"], seed)
    per_update = 4 if arm["question"] == "updates" else 16
    return glyphs(arm["method"], seed, per_update, arm["question"] == "batchnorm")


# Waves: 10 points each, perceptron 1-40-40-1.


def waves(method: str, seed: int) -> dict[str, float]:
    loss, start, names = wave_start(method, seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    tuning = meta.sinusoid_batch(200, 10, 50, generator)
    test = meta.sinusoid_batch(600, 10, 100, generator)

    def errors(rate, tasks):  # (11, T)
        options = dict(adapted=names, tasks="batched")
        return meta.adaptation_curve(loss, start, *tasks, rate, 10, **options)

    rate = min(RATES, key=lambda r: errors(r, tuning)[10].nan_to_num(1e9).median())
    found = errors(rate, test)
    last = found[10].nan_to_num(1e9)
    quantiles = last.quantile(torch.tensor([0.1, 0.9]))
    return {
        **{f"median_{n}": found[n].median().item() for n in AFTER},
        "mean_10": last.mean().item(),
        "low_10": quantiles[0].item(),
        "high_10": quantiles[1].item(),
        "max_10": last.max().item(),
        "rate": rate,
    }


def wave_start(method: str, seed: int, iterations: int = 1500):
    """The loss, the trained start, and the names that adapt (None for all)."""
    loss = meta.module_loss(meta.sinusoid_model(seed=seed), F.mse_loss)
    start = loss.params()
    names = meta.anil_params(start) if method == "anil" else None
    options = dict(iterations=iterations, seed=seed, adapted=names, outer_lr=3e-3)
    if method == "reptile":
        options |= dict(method="reptile", steps=5, outer_lr=1.0, inner_lr=0.02)
    else:
        kind = "fomaml" if method == "fomaml" else "maml"
        options |= dict(method=kind, steps=0 if method == "joint" else 1)
    if method != "scratch":
        start = meta.meta_train(
            loss, start, waves_of_10, **options, tasks="batched", progress=False
        ).params
    return loss, start, names


def waves_of_10(generator: torch.Generator):
    return meta.sinusoid_batch(25, 10, 10, generator)


# Glyph episodes: 5 ways, 1 shot, trained on 3 scripts, tested on 2 others.
EPISODES = 1280  # of the training, in updates of 4 or 16


def glyphs(
    method: str, seed: int, per_update: int, batchnorm: bool = False
) -> dict[str, float]:
    train, test = scripts("latin", "greek", "cyrillic"), scripts("armenian", "georgian")
    torch.manual_seed(seed)
    net = small_conv(batchnorm)
    loss, names = meta.module_loss(net), None
    if method == "protonet":
        settings = dict(num_ways=5, num_shots=1, num_queries=5, lr=5e-3, seed=seed)
        settings |= dict(steps=EPISODES // per_update, episodes_per_step=per_update)
        meta.train_episodes(net[0], train, **settings, progress=False)
    elif method == "probe":  # as many pictures as the episodes hold
        whole = nn.Sequential(net[0], nn.Linear(64, int(train[1].max()) + 1))
        options = dict(epochs=23, lr=5e-3, seed=seed, progress=False)
        training.fit(whole, train, **options)
    elif method != "random":
        names = meta.anil_params(loss.params(), "1") if method == "anil" else None
        start = glyph_start(loss, method, names, train, per_update, seed)
        net.load_state_dict(start, strict=False)
        return episode_scores(net, names, test, seed, batchnorm)
    return {"prototypes": by_prototypes(net, test, seed)}


def scripts(*names: str):
    """Pictures 16 x 16 of several scripts as one set of classes."""
    sets = [
        data.load("glyphs", script=s, face="all", per_class=20, size=16) for s in names
    ]
    first, labels = 0, []
    for part in sets:
        labels.append(part.y + first)
        first += len(part.classes)
    return 4 * torch.cat([part.x for part in sets]) - 1, torch.cat(labels)


def small_conv(batchnorm: bool) -> nn.Sequential:
    """Body (features of 64) and head; norms see one picture, or the batch."""
    layers: list[nn.Module] = []
    for channels in (1, 16, 16):
        norm = nn.BatchNorm2d(16, track_running_stats=False)
        layers += [
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            norm if batchnorm else nn.GroupNorm(4, 16),
            nn.ReLU(),
        ]
    return nn.Sequential(nn.Sequential(*layers, nn.Flatten()), nn.Linear(64, 5))


def glyph_start(loss, method: str, names, train, per_update: int, seed: int):
    x, y = train
    episodes = meta.EpisodeSampler(y, 5, 1, 5)

    def sample(generator):
        task = episodes.draw(generator, per_update).take(x)
        return (task.support_x, task.support_y), (task.query_x, task.query_y)

    options = dict(iterations=EPISODES // per_update, seed=seed, inner_lr=0.2)
    options |= dict(adapted=names)
    if method == "reptile":
        options |= dict(method="reptile", steps=5, outer_lr=1.0)
    else:
        kind = "fomaml" if method == "fomaml" else "maml"
        options |= dict(method=kind, steps=3, outer_lr=5e-3)
    params = loss.params()
    return meta.meta_train(loss, params, sample, **options, progress=False).params


def episode_scores(net, names, test, seed: int, batchnorm: bool) -> dict[str, float]:
    x, y = test
    generator = torch.Generator().manual_seed(seed)
    task = meta.sample_episodes(y, 5, 1, 15, 300, generator).take(x)
    support = (task.support_x, task.support_y)
    loss = meta.module_loss(net)
    outputs = vmap(loss.outputs)

    def right(logits):
        return (logits.argmax(-1) == task.query_y).float().mean().item()

    scores = {}
    for steps, name in ((0, "accuracy_0"), (3, "accuracy_3"), (10, "accuracy")):
        with torch.no_grad():
            own = meta.adapt_params(
                loss, loss.params(), support, 0.2, steps, adapted=names
            )
            scores[name] = right(outputs(own, task.query_x))
    with torch.no_grad():  # queries come sorted by class, 15 of each
        parts = [outputs(own, part) for part in task.query_x.split(15, 1)]
        scores["by_class"] = right(torch.cat(parts, 1))
    if not batchnorm:
        scores["prototypes"] = by_prototypes(net, test, seed)
    return scores


def by_prototypes(net, test, seed: int) -> float:
    options = dict(episodes=300, seed=seed, progress=False)
    return meta.few_shot_accuracy(net[0], test, **options).interval.value


# Walkers: a goal in the unit square, 20 trajectories of 20 steps for each update.


def walkers(method: str, seed: int) -> dict[str, float]:
    policy, start, settings = walker_start(method, seed)
    goals = meta.sample_goals(100, torch.Generator().manual_seed(2000 + seed))
    generator = torch.Generator().manual_seed(3000 + seed)
    settings = settings._replace(steps=3)
    _, returns = meta.rl_adapt(policy, start, goals, settings, generator=generator)
    return {f"return_{n}": returns[n].mean().item() for n in range(4)}


def walker_start(method: str, seed: int, iterations: int = 150):
    """The policy's form, the trained start, and the inner loop's settings."""
    policy = meta.NavigationPolicy(width=40, seed=seed)
    start, settings = policy.params(), meta.RlSettings(inner_lr=5e-4)
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(start.values(), lr=3e-3)
    joint = method == "joint"  # as good as no inner step
    used = settings._replace(inner_lr=1e-12) if joint else settings
    kind = "fomaml" if joint else method
    for _ in range(iterations):
        goals = meta.sample_goals(20, generator)
        grads, _ = meta.rl_maml_grad(
            policy, start, goals, used, estimator=kind, generator=generator
        )
        for name, value in start.items():
            value.grad = grads[name]
        adam.step()
    return policy, {name: value.detach() for name, value in start.items()}, settings
