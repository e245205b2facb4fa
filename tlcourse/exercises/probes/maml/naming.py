"""What is asked about ANIL: which parameters belong to the head."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probes.maml.common import FORBID, is_what_it_was
from tlcourse.exercises.probing import Candidate, Seen, by_role, tensors
from tlcourse.exercises.spec import Case, Probe

_BELOW, _ALIKE, _REFUSES = "at or below the head", "names that look alike", "refuses"


def _make_anil(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    word = "".join(rng.choice(list("bcdfgklmnprstvz"), 4))

    def case(group: str, about: str, names: list[str], head: str | None) -> Case:
        inputs = {f"params[{n}]": rng.normal(0, 1, 2) for n in names}
        return Case(group, about, inputs | {"head": head})

    def both(*parts: str) -> list[str]:
        return [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]

    deep = [*both(f"{word}.0"), *both("body"), *both(f"{word}.1", f"{word}.1.proj")]
    alike = [*both("head2", "header"), "head", "head_scale", *both("head", "my_head")]
    return [
        case(_BELOW, "the usual head", both("body", "head"), None),
        case(_BELOW, f"head '{word}'", both("body", word), word),
        case(_BELOW, f"head '{word}.1', with a part below it", deep, f"{word}.1"),
        case(_BELOW, "the head comes first", both("head", "body"), None),
        case(_ALIKE, "head beside head2, header, my_head", alike, "head"),
        case(_ALIKE, "another head inside the body", both("body.head", "head"), "head"),
        case(_ALIKE, "net.1 beside net.10", both("net.1", "net.10"), "net.1"),
        case(_ALIKE, "net.1 beside net_1", both("net_1", "net.1"), "net.1"),
        case(_REFUSES, "no such head", both("body", "head"), word),
        case(_REFUSES, "only names that look alike", both("body", "head2"), "head"),
        case(_REFUSES, "only a beginning", both("body", "classifier"), "class"),
    ]


def _observe_anil(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    mine, head = by_role(given, "params"), given["head"]
    given_params = dict(mine)
    for p in given_params.values():
        p.requires_grad_()
    names = candidate(mine) if head is None else candidate(mine, head)
    if not isinstance(names, tuple | list):
        kind = type(names).__name__
        raise TypeError(f"return a tuple or list of names, got {kind}.")
    seen = {"names": [str(name) for name in names]}
    if case.group != _BELOW:
        return seen
    return seen | is_what_it_was(mine, given_params, True)


anil_params = Probe(
    id="maml.anil_params",
    title="ANIL: what moves in the inner loop",
    points=2,
    minutes=8,
    level="easy",
    hints=(
        "`name.startswith('head')` is true for which names that are not in the head?",
        "A name is at the head if it equals it, and below it if it starts with the "
        "head and a dot.",
        "names = tuple(n for n in params if n == head or n.startswith(head + '.')); "
        "if not names: raise ValueError(...)",
    ),
    make=_make_anil,
    observe=_observe_anil,
    forbid=FORBID,
    forgeable=True,
)
