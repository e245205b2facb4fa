"""Chapter 02: what is asked about cross-entropy and its smoothed form."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probes.losses.common import loss_and_gradient
from tlcourse.exercises.spec import Case, Probe


def _make_cross_entropy(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, k: int, scale: float) -> Case:
        logits = rng.normal(0, scale, (n, k)).astype(np.float32)
        return Case(group, about, {"logits": logits, "targets": rng.integers(0, k, n)})

    far_apart = case("large logits", "rows near 300 and rows near -300", 6, 4, 1.0)
    far_apart.inputs["logits"][::2] += 300
    far_apart.inputs["logits"][1::2] -= 300
    deep = case("far below zero", "logits near -300", 5, 4, 1.0)
    deep.inputs["logits"][:] -= 300
    refused = "refuses bad input"
    wrong = case(refused, "a class index outside the logits", 4, 3, 1.0)
    wrong.inputs["targets"][1] = 3
    negative = case(refused, "the class index -1", 4, 3, 1.0)
    negative.inputs["targets"][2] = -1
    return [
        case("value and gradient", "5 samples, 3 classes", 5, 3, 1.0),
        case("value and gradient", "one sample", 1, 4, 1.0),
        case("value and gradient", "7 samples, 10 classes", 7, 10, 2.0),
        case("large logits", "logits near 1,000", 6, 5, 1000.0),
        far_apart,
        deep,
        wrong,
        negative,
    ]


cross_entropy = Probe(
    id="losses.cross_entropy",
    title="Cross-entropy from logits",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "Softmax and then log: which of the two overflows, and can you avoid it?",
        "Per sample, loss = log sum_j exp(z_j) - z_y, and "
        "log sum_j exp(z_j) = m + log sum_j exp(z_j - m) with m = max_j z_j.",
        "Check the range of targets first (ValueError). Then: "
        "m = logits.max(1, keepdim=True).values; shifted = logits - m; "
        "loss_i = log(exp(shifted).sum(1)) - shifted[i, y_i]; return the mean.",
    ),
    make=_make_cross_entropy,
    observe=lambda candidate, case: loss_and_gradient(
        candidate, case, "logits", "targets"
    ),
    forbid=(
        "tlcourse.losses.cross_entropy",
        "torch.nn.functional.cross_entropy",
        "torch.nn.functional.nll_loss",
        "torch.nn.functional.log_softmax",
        "torch.log_softmax",
        "torch.Tensor.log_softmax",
        "torch.nn.functional.kl_div",
        "torch.logsumexp",
        "torch.Tensor.logsumexp",
        "torch.special.log_softmax",
        "torch.special.logsumexp",
    ),
)


def _make_label_smoothing(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, k: int, smoothing: float, scale: float = 2.0
    ) -> Case:
        logits = rng.normal(0, scale, (n, k)).astype(np.float32)
        targets = rng.integers(0, k, n)
        inputs = {"logits": logits, "targets": targets, "smoothing": smoothing}
        return Case(group, about, inputs)

    return [
        case("smoothed targets", "5 samples, 3 classes, smoothing 0.1", 5, 3, 0.1),
        case("smoothed targets", "one sample, smoothing 0.3", 1, 4, 0.3),
        case("smoothed targets", "6 samples, 10 classes, smoothing 0.2", 6, 10, 0.2),
        case("no smoothing", "smoothing 0 is plain cross-entropy", 5, 4, 0.0),
        case("no smoothing", "logits near 1,000, smoothing 0", 6, 5, 0.0, 1000.0),
        case("large logits", "logits near 1,000, smoothing 0.1", 6, 5, 0.1, 1000.0),
        case("large logits", "logits near 1,000, smoothing 0.4", 4, 6, 0.4, 1000.0),
        case("refuses bad input", "smoothing 1.5", 4, 3, 1.5),
        case("refuses bad input", "smoothing 1", 4, 3, 1.0),
        case("refuses bad input", "smoothing -0.1", 4, 3, -0.1),
    ]


label_smoothing_ce = Probe(
    id="losses.label_smoothing_ce",
    title="Cross-entropy with smoothed labels",
    points=4,
    minutes=15,
    level="easy",
    hints=(
        "Write down the target distribution q of one sample. Do its K numbers sum "
        "to 1? How much does the true class get in total?",
        "q_k = (1 - eps) [k = y] + eps / K, so "
        "loss = (1 - eps) * (-log p_y) + eps * mean_k(-log p_k).",
        "Check 0 <= smoothing < 1 (ValueError). Then: log_p = logits.log_softmax(1); "
        "true = -log_p[rows, targets]; uniform = -log_p.mean(1); return "
        "((1 - smoothing) * true + smoothing * uniform).mean().",
    ),
    make=_make_label_smoothing,
    observe=lambda candidate, case: loss_and_gradient(
        candidate, case, "logits", "targets", "smoothing"
    ),
    forbid=(
        "tlcourse.losses.label_smoothing_ce",
        "torch.nn.functional.cross_entropy",
    ),
)
