"""How many labels does it take, and what is left in another library's words?"""

import copy
from functools import lru_cache

import numpy as np
import torch

from tlcourse import data, models, training
from tlcourse.language import (
    TextClassifier,
    embed,
    freeze_all_but_head,
    llrd_groups,
    pack_texts,
    train_masked,
)
from tlcourse.models import add_lora

SEEDS = (0, 1, 2, 3, 4)
METRICS = {
    "inside": "mean recall over topics, unseen scipy functions",
    "outside": "the same on torch's documentation, never trained on",
}
SHOTS = (1, 5, 20, 100)
EPOCHS = {1: 15, 5: 6, 20: 2, 100: 1}
RATES = {"full": 5e-5, "lora": 1e-3}
LENGTH = 32  # tokens; longer sentences lose their end
TEST = 30  # unseen sentences of each topic
_VECTORS: dict[str, np.ndarray] = {}


def arms() -> list[dict]:
    methods = ("tfidf", "frozen", "lora", "full")
    curves = [{"method": m, "shots": k} for m in methods for k in SHOTS]
    others = ("fast", "llrd", "fresh", "adapted", "cls")
    return curves + [{"method": m, "shots": 20} for m in others]


def run(arm: dict, seed: int) -> dict[str, float]:
    method = arm["method"]
    train, inside, outside = texts(arm["shots"], seed)
    if method == "tfidf":
        predict = words(train)
    elif method in ("frozen", "cls", "adapted"):
        read = {"frozen": known, "cls": first}.get(method) or adapted(outside.x, seed)
        model = logistic(read(train.x), train.y, 0.1)
        predict = lambda x: torch.tensor(model.predict(read(x)))  # noqa: E731
    else:
        predict = tuned(method, train, seed)
    tests = {"inside": inside, "outside": outside}
    return {name: mean_recall(predict(d.x), d.y) for name, d in tests.items()}


@lru_cache(maxsize=1)
def language_model():
    return models.load("minilm")


@lru_cache(maxsize=2)
def library(name: str, max_per_class: int):
    return data.load("docs", library=name, max_per_class=max_per_class)


def texts(shots: int, seed: int):
    """Labelled sentences, unseen ones of the same library, and of the other one."""
    pool, rest = library("scipy", 240).split(0.75, 0.25, seed=seed)
    topics = range(len(rest.classes))
    keep = [(rest.y == topic).nonzero()[:TEST, 0] for topic in topics]
    train = pool.few_shot(shots, seed=seed)[0]
    return train, rest.subset(torch.cat(keep)), library("torch", 40)


def mean_recall(predicted, y) -> float:
    """Every topic counts the same, however many sentences it has."""
    hits = [(predicted[y == topic] == topic).float().mean() for topic in y.unique()]
    return torch.stack(hits).mean().item()


def logistic(z, y, strength: float):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=2000).fit(z, y)


def words(train):
    """TF-IDF and logistic regression: no pretraining at all."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer()
    model = logistic(counts.fit_transform(train.x), train.y, 1.0)
    return lambda x: torch.tensor(model.predict(counts.transform(x)))


def vectors(x, encoder, pool="mean"):
    options = dict(pool=pool, max_length=LENGTH, progress=False)
    return embed(x, encoder, **options).cpu().numpy()


def known(x):
    """Mean-pooled features ``(n, d)``; each sentence is read once per process."""
    new = [text for text in dict.fromkeys(x) if text not in _VECTORS]
    if new:
        _VECTORS.update(zip(new, vectors(new, language_model()), strict=True))
    return np.stack([_VECTORS[text] for text in x])


def first(x):
    return vectors(x, language_model(), "cls")


def adapted(x, seed: int):
    """Features after masked words of the target's texts: its labels are not used."""
    encoder = copy.deepcopy(language_model())
    options = dict(epochs=2, batch_size=16, max_length=LENGTH, seed=seed)
    train_masked(x, encoder, **options, progress=False)
    return lambda texts: vectors(texts, encoder)


def classifier(train):
    """Encoder and head, the head being the logistic regression on frozen features."""
    encoder = copy.deepcopy(language_model().model)
    model = TextClassifier(encoder, len(train.classes))
    probe = logistic(known(train.x), train.y, 0.1)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor(probe.coef_))
        model.classifier.bias.copy_(torch.tensor(probe.intercept_))
    return model


def tuned(method: str, train, seed: int):
    """Train LoRA or all layers, from the probe on (LP-FT), but "fresh": a new head."""
    torch.manual_seed(seed)
    model = classifier(train)
    if method == "fresh":
        model.classifier.reset_parameters()
    if method == "lora":
        freeze_all_but_head(model)
        names = [n for n, _ in model.named_modules() if n.endswith(("query", "value"))]
        add_lora(model, names, rank=8, alpha=16)
    model.encoder.embeddings.requires_grad_(False)
    rate = {"fast": 1e-3}.get(method, RATES.get(method, RATES["full"]))
    decay = 0.7 if method == "llrd" else 1.0
    head_rate = 1e-2 if method == "fresh" else 1e-3
    groups = llrd_groups(model, rate, decay, head_lr=head_rate)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    options = dict(batch_size=8, optimizer=optimizer, seed=seed, progress=False)
    packed = pack_texts(train.x, language_model().tokenizer, LENGTH)
    epochs = EPOCHS[len(train) // len(train.classes)]
    training.fit(model, (packed, train.y), epochs=epochs, **options)
    return lambda x: classify(model, x)


@torch.no_grad()
def classify(model, x):
    packed = pack_texts(x, language_model().tokenizer, LENGTH)
    order = packed[:, 1].sum(1).argsort()  # like lengths together: less padding
    predicted = torch.empty(len(x), dtype=torch.long)
    for rows in order.split(32):
        predicted[rows] = model(packed[rows]).argmax(1)
    return predicted
