"""Which layer transfers best, and how far does fine-tuning move each layer?"""

import torch

from tlcourse import data, models, training
from tlcourse.features import extract_features, linear_cka, ridge_probe

SEEDS = (0, 1, 2, 3, 4)
LAYERS = ("stem", "stage1", "stage2", "stage3")
METRICS = {
    "pixels": "share of right target labels, probe on raw pixels",
    **{name: f"the same, probe on {name}" for name in LAYERS},
    **{f"cka_{name}": f"debiased CKA of {name} before and after" for name in LAYERS},
}
NETWORKS = ("glyphnet", "random")
PENALTY = 10.0


def arms() -> list[dict]:
    probes = [
        {"question": "layers", "target": target, "network": network}
        for target in ("latin", "georgian", "handwriting", "textures")
        for network in NETWORKS
    ]
    tunings = [
        {"question": "fine-tuning", "target": target}
        for target in ("latin", "georgian", "textures")
    ]
    return probes + tunings


def run(arm: dict, seed: int) -> dict[str, float]:
    train, test = target_data(arm["target"], seed)
    if arm["question"] == "fine-tuning":
        return fine_tuning(train, test, seed)
    weights = "default" if arm["network"] == "glyphnet" else None
    model = models.load("glyphnet", weights=weights)
    scores = {"pixels": probe(train.x.flatten(1), train.y, test.x.flatten(1), test.y)}
    for name in LAYERS:
        z_train = extract_features(model, train.x, name)
        z_test = extract_features(model, test.x, name)
        scores[name] = probe(z_train, train.y, z_test, test.y)
    return scores


def target_data(name: str, seed: int):
    """Few labelled samples and the rest; of textures, disjoint regions."""
    if name == "textures":
        return data.load("textures").split(0.5, 0.5, seed=seed)
    if name == "handwriting":
        return data.load("digits", size=32).few_shot(5, seed=seed)
    glyphs = data.load("glyphs", script=name, face="all", per_class=30, seed=9)
    return glyphs.few_shot(5, seed=seed)


def probe(z_train, y_train, z_test, y_test) -> float:
    """Accuracy of a ridge probe on features scaled by the training samples."""
    mean, std = z_train.mean(0), z_train.std(0) + 1e-6
    classes = int(y_train.max()) + 1
    weight, bias = ridge_probe((z_train - mean) / std, y_train, classes, PENALTY)
    logits = (z_test - mean) / std @ weight.T + bias
    return (logits.argmax(1) == y_test).float().mean().item()


def fine_tuning(train, test, seed: int) -> dict[str, float]:
    """Debiased CKA of each layer with itself before fine-tuning, on test pictures."""
    torch.manual_seed(seed)
    model = models.load("glyphnet", num_classes=len(train.classes))
    before = {name: extract_features(model, test.x, name) for name in LAYERS}
    training.fit(model, train, epochs=20, lr=1e-3, seed=seed, progress=False)
    return {
        f"cka_{name}": linear_cka(
            before[name], extract_features(model, test.x, name), debiased=True
        ).item()
        for name in LAYERS
    }
