"""What is asked about prototypes, their logits, and matching attention."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probes.few_shot.common import with_gradients
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_LEARNS = "gradients"


def _support(rng: np.random.Generator, counts: list[int], d: int) -> dict[str, object]:
    """Support features in mixed order; classes do not come as 0, 1, 2."""
    y = np.repeat(np.arange(len(counts)), counts)
    while True:
        y = rng.permutation(y)
        first = list(dict.fromkeys(y.tolist()))
        blocks = len(set(counts)) > 1 or (np.sort(y) != y).any()
        if len(counts) < 2 or (first != sorted(first) and blocks):
            break
    return {
        "support_z": normal(rng, len(y), d) + 1.0,
        "support_y": y,
        "num_ways": len(counts),
    }


def _make_prototypes(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    means, single = "class means", "any number of shots"

    def case(group: str, about: str, counts: list[int], d: int) -> Case:
        inputs = _support(rng, counts, d)
        inputs["weights"] = normal(rng, len(counts), d)
        return Case(group, about, inputs)

    def missing(k: int) -> dict[str, object]:
        inputs = _support(rng, [2, 3, 2], 3)
        inputs["support_y"][inputs["support_y"] == k] = 0
        return inputs

    return [
        case(means, "3 ways, 2 shots, 4 features", [2, 2, 2], 4),
        case(means, "5 ways, 5 shots, 7 features", [5] * 5, 7),
        case(single, "4 ways, 1 shot", [1, 1, 1, 1], 3),
        case(single, "unequal shots: 1, 4 and 3", [1, 4, 3], 5),
        case(_LEARNS, "gradients reach the support features", [3, 1, 2], 2),
        Case(REFUSES, "a class without a support sample", missing(1)),
        Case(REFUSES, "the last class without a support sample", missing(2)),
    ]


def _observe_prototypes(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    z = given["support_z"]
    if case.group != _LEARNS:
        return {"result": candidate(z, given["support_y"], given["num_ways"])}
    z.requires_grad_()
    found = candidate(z, given["support_y"], given["num_ways"])
    return with_gradients(found, {"support_z": z}, given["weights"])


prototypes = Probe(
    id="few_shot.prototypes",
    title="Class prototypes",
    points=2,
    minutes=10,
    level="easy",
    hints=(
        "Which rows of support_z belong to class 2, and how many are there?",
        "c_k is the sum of z_i over the samples with y_i = k, divided by how many "
        "there are; a one-hot matrix (n, N) gives all sums by one product.",
        "for k in range(num_ways): members = support_z[support_y == k]; none: "
        "ValueError; rows.append(members.mean(dim=0)). Then torch.stack(rows).",
    ),
    make=_make_prototypes,
    observe=_observe_prototypes,
    forbid=("tlcourse.meta.class_prototypes",),
)


def _make_logits(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    plain, far = "squared distances", "exact far from the origin"

    def case(group: str, about: str, m: int, ways: int, d: int, at: float = 0) -> Case:
        inputs = {
            "query_z": normal(rng, m, d) + np.float32(at),
            "prototypes": normal(rng, ways, d) + np.float32(at),
            "weights": normal(rng, m, ways),
        }
        return Case(group, about, inputs)

    return [
        case(plain, "6 queries, 3 classes, 4 features", 6, 3, 4),
        case(plain, "one query, one feature", 1, 5, 1),
        case(plain, "as many queries as classes", 4, 4, 3),
        case(far, "all features near 1,000", 40, 5, 16, 1000),
        case(far, "all features near -3,000", 30, 8, 8, -3000),
        case(_LEARNS, "gradients for queries and prototypes", 5, 3, 4),
    ]


def _observe_logits(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    names = ("query_z", "prototypes")
    if case.group != _LEARNS:
        return {"result": candidate(*(given[name] for name in names))}
    inputs = {name: given[name].requires_grad_() for name in names}
    return with_gradients(candidate(*inputs.values()), inputs, given["weights"])


proto_logits = Probe(
    id="few_shot.proto_logits",
    title="Logits of a prototypical network",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "A logit is large where a class is likely. And what is left of the distance "
        "between 1000.01 and 1000.02 once both have been squared in float32?",
        "l_ik = -sum over features of (z_i - c_k)^2: subtract first, then square.",
        "gaps = query_z[:, None, :] - prototypes[None, :, :] has the shape (m, N, d); "
        "square it, sum over the last dimension, and change the sign.",
    ),
    make=_make_logits,
    observe=_observe_logits,
    forbid=("tlcourse.meta.proto_logits",),
)


def _make_attention(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    rows, sharp = "attention over the support", "temperature"

    def case(
        group: str, about: str, m: int, n: int, d: int, temperature: float = 1.0
    ) -> Case:
        lengths = rng.uniform(0.2, 5, (m, 1)), rng.uniform(0.2, 5, (n, 1))
        inputs = {
            "query_z": (normal(rng, m, d) * lengths[0]).astype(np.float32),
            "support_z": (normal(rng, n, d) * lengths[1]).astype(np.float32),
            "temperature": temperature,
            "weights": normal(rng, m, n),
        }
        return Case(group, about, inputs)

    query = case(REFUSES, "a query of zeros: it has no direction", 3, 4, 3)
    query.inputs["query_z"][1] = 0
    support = case(REFUSES, "a support vector of zeros", 3, 4, 3)
    support.inputs["support_z"][2] = 0
    return [
        case(rows, "4 queries, 6 support samples, 5 features", 4, 6, 5),
        case(rows, "one query, one support sample", 1, 1, 3),
        case(rows, "as many queries as support samples", 5, 5, 4),
        case(sharp, "temperature 0.3", 3, 5, 4, 0.3),
        case(sharp, "temperature 0.005", 4, 6, 3, 0.005),
        case(_LEARNS, "gradients for queries and support", 3, 4, 3, 0.5),
        case(REFUSES, "temperature 0", 3, 4, 3, 0.0),
        case(REFUSES, "temperature -0.5", 3, 4, 3, -0.5),
        query,
        support,
    ]


def _observe_attention(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    names = ("query_z", "support_z")
    args = [given["temperature"]] if given["temperature"] != 1 else []
    if case.group != _LEARNS:
        return {"result": candidate(*(given[name] for name in names), *args)}
    inputs = {name: given[name].requires_grad_() for name in names}
    return with_gradients(candidate(*inputs.values(), *args), inputs, given["weights"])


matching_attention = Probe(
    id="few_shot.matching_attention",
    title="Attention of a matching network",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "Whose weights must sum to 1: those that one query gives to the support "
        "samples, or those that one support sample gets?",
        "a_ij = exp(cos(z_i, s_j) / temperature) / sum_l exp(cos(z_i, s_l) / "
        "temperature); at temperature 0.005 that is exp(200), so use a softmax.",
        "Scale every row to length 1 (none may have length 0: ValueError); cosine = q "
        "@ s.T; return (cosine / temperature).softmax(dim=1). Temperature <= 0: "
        "ValueError.",
    ),
    make=_make_attention,
    observe=_observe_attention,
    forbid=("tlcourse.meta.matching_attention", "tlcourse.meta.matching_probabilities"),
)
