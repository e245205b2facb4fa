"""LEEP and LogME: what is asked."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probes.why_transfer.common import VALUE, tensors
from tlcourse.exercises.probing import REFUSES, number
from tlcourse.exercises.spec import Case, Probe


def _make_leep(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, s: int, c: int) -> Case:
        y = np.concatenate([np.arange(c), rng.integers(0, c, n - c)])
        prefers = rng.integers(0, s, c)  # each target class leans to a source class
        logits = rng.normal(0, 1, (n, s)) + 2 * np.eye(s)[prefers[y]]
        theta = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return Case(group, about, {"probabilities": theta, "y": y})

    unused = case(
        "a source class nobody uses", "5 source classes, one unused", 20, 5, 3
    )
    theta = unused.inputs["probabilities"]
    theta[:, rng.integers(5)] = 0
    theta /= theta.sum(1, keepdims=True)
    gaps = case(VALUE, "target classes named 2 and 7", 20, 4, 2)
    gaps.inputs["y"] = np.array([2, 7])[gaps.inputs["y"]]
    logits = case(REFUSES, "logits instead of probabilities", 8, 4, 3)
    logits.inputs["probabilities"] = np.log(logits.inputs["probabilities"]) + 1
    negative = case(REFUSES, "a row 1.2, -0.2, 0, 0", 8, 4, 3)
    negative.inputs["probabilities"][rng.integers(8)] = 1.2, -0.2, 0, 0
    sums = case(REFUSES, "one row sums to 1.2, one to 0.8", 8, 4, 3)
    sums.inputs["probabilities"][:2] *= [[1.2], [0.8]]
    short = case(REFUSES, "fewer labels than rows", 8, 4, 3)
    short.inputs["y"] = short.inputs["y"][:-1]
    long = case(REFUSES, "more labels than rows", 8, 4, 3)
    long.inputs["y"] = np.append(long.inputs["y"], 0)
    return [
        case(VALUE, "30 samples, 6 source and 4 target classes", 30, 6, 4),
        case(VALUE, "12 samples, 3 source and 5 target classes", 12, 3, 5),
        gaps,
        unused,
        logits,
        negative,
        sums,
        short,
        long,
    ]


leep = Probe(
    id="why_transfer.leep",
    title="LEEP: how well source classes predict target classes",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "The source model says “cat” for half of your tulips. What would you guess "
        "when it says “cat”, and how would you count that softly?",
        "P(y,z) = (1/n) sum over i with y_i = y of theta(x_i)_z; P(z) = sum_y P(y,z); "
        "P(y|z) = P(y,z) / P(z); LEEP = (1/n) sum_i log sum_z P(y_i|z) theta(x_i)_z.",
        "one_hot = F.one_hot(y).double(); joint = one_hot.T @ theta / n  # (c, s); "
        "conditional = joint / joint.sum(0) with 0 where a column sums to 0; "
        "return (conditional[y] * theta).sum(1).log().mean(). Before that, refuse "
        "unequal lengths, negative entries and rows that do not sum to 1.",
    ),
    make=_make_leep,
    observe=lambda candidate, case: {"leep": number(candidate(*tensors(case)))},
    forbid=("tlcourse.transferability.leep",),
)


def _make_log_me(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, d: int, c: int, rank: int) -> Case:
        y = rng.permutation(np.arange(n) % c)
        # Orthogonal centres: each class can be told from the others linearly, so that
        # the evidence has one maximum and the fixed point finds it.
        centres = 2 * np.linalg.qr(rng.normal(0, 1, (rank, c)))[0].T
        inner = centres[y] + rng.normal(0, 0.8, (n, rank))
        features = inner @ rng.normal(0, 1, (rank, d)) if rank < d else inner
        return Case(group, about, {"features": features, "y": y})

    gaps = case(VALUE, "classes named 2 and 7", 30, 4, 2, 4)
    gaps.inputs["y"] = np.array([2, 7])[gaps.inputs["y"]]
    short = case(REFUSES, "fewer labels than rows", 12, 3, 3, 3)
    short.inputs["y"] = short.inputs["y"][:-1]
    wide = "more features than samples"
    return [
        case(VALUE, "60 samples, 4 features, 3 classes", 60, 4, 3, 4),
        case(VALUE, "80 samples, 8 features, 5 classes", 80, 8, 5, 8),
        gaps,
        _faint(rng, 60, 8, 4),
        case(wide, "20 samples, 30 features of rank 4", 20, 30, 3, 4),
        short,
    ]


def _faint(rng: np.random.Generator, n: int, d: int, c: int) -> Case:
    """Features that explain each class little better than noise would.

    Per feature they explain 1.3 times as much of it as is left per sample: the
    evidence still has one maximum, but a few rounds do not reach it.
    """
    y = rng.permutation(np.arange(n) % c)
    target = np.eye(c)[y] / np.sqrt(n / c)  # (n, c) orthonormal
    noise = rng.normal(0, 1, (n, d))
    basis = np.linalg.qr(np.hstack([target, noise]))[0][:, c:]  # (n, d)
    odds = 1.3 * d / (n - d)
    explained = odds / (1 + odds)
    basis[:, :c] *= np.sqrt(1 - explained)
    basis[:, :c] += np.sqrt(explained) * target
    turn = np.linalg.qr(rng.normal(0, 1, (d, d)))[0]
    about = f"{n} samples, {d} features that say little, {c} classes"
    return Case(VALUE, about, {"features": np.sqrt(n) * basis @ turn, "y": y})


log_me = Probe(
    id="why_transfer.log_me",
    title="LogME: the evidence for a linear head",
    points=5,
    minutes=40,
    level="hard",
    hints=(
        "A head with many features can fit anything. Which quantity asks how probable "
        "the labels are on average over all heads, and at which alpha and beta is it "
        "largest?",
        "Repeat: A = alpha I + beta F'F; m = beta A^-1 F'y; gamma = sum_i beta s_i^2 / "
        "(alpha + beta s_i^2) with singular values s_i of F; alpha = gamma / m'm; beta "
        "= (n - gamma) / |Fm - y|^2. Then put alpha, beta, A and m into the evidence.",
        "For each class: t = (y == c).double(); alpha = beta = 1.; 100 times: "
        "A = alpha * eye(d) + beta * F.T @ F; m = beta * solve(A, F.T @ t); gamma = "
        "(beta * s2 / (alpha + beta * s2)).sum(); update both. At the end recompute A "
        "and m, L = (d*log(alpha) + n*log(beta) - beta*|F m - t|^2 - alpha*m@m - "
        "logdet(A) - n*log(2*pi)) / 2. Return the mean over classes of L / n.",
    ),
    make=_make_log_me,
    observe=lambda candidate, case: {"log_me": number(candidate(*tensors(case)))},
    forbid=("tlcourse.transferability.log_me",),
)
