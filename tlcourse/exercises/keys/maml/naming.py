"""What moves in ANIL: the head by its name, and names that only look like it."""

from __future__ import annotations

import re

from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant

Params = dict[str, Tensor]


def _below(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if n == head or n.startswith(f"{head}."))
    if not names:
        raise ValueError(f"no parameter stands at or below {head!r}.")
    return names


def _prefix(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if n.startswith(head))
    if not names:
        raise ValueError(f"no parameter starts with {head!r}.")
    return names


def _anywhere(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if f".{head}." in f".{n}.")
    if not names:
        raise ValueError(f"no parameter has a part {head!r}.")
    return names


def _contains(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if head in n)
    if not names:
        raise ValueError(f"no parameter contains {head!r}.")
    return names


def _body(params: Params, head: str = "head") -> tuple[str, ...]:
    moved = _below(params, head)
    return tuple(n for n in params if n not in moved)


def _silent(params: Params, head: str = "head") -> tuple[str, ...]:
    return tuple(n for n in params if n == head or n.startswith(f"{head}."))


def _last_layer(params: Params, head: str = "head") -> tuple[str, ...]:
    _below(params, head)
    return tuple(params)[-2:]


def _weights(params: Params, head: str = "head") -> tuple[str, ...]:
    return tuple(n for n in _below(params, head) if not n.endswith(".bias"))


def _always_head(params: Params, head: str = "head") -> tuple[str, ...]:
    return _below(params, "head")


def _one_level(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if head in (n, n.rpartition(".")[0]))
    if not names:
        raise ValueError(f"no parameter stands in {head!r}.")
    return names


def _only_below(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if n.startswith(f"{head}."))
    if not names:
        raise ValueError(f"no parameter stands below {head!r}.")
    return names


def _pattern(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if re.match(rf"{head}(\.|$)", n))
    if not names:
        raise ValueError(f"no parameter matches {head!r}.")
    return names


def _first_part(params: Params, head: str = "head") -> tuple[str, ...]:
    names = tuple(n for n in params if n.split(".")[0] == head)
    if not names:
        raise ValueError(f"no parameter is in {head!r}.")
    return names


def _sorted(params: Params, head: str = "head") -> tuple[str, ...]:
    return tuple(sorted(_below(params, head)))


def _freezes(params: Params, head: str = "head") -> tuple[str, ...]:
    names = _below(params, head)
    for name, p in params.items():
        p.requires_grad_(name in names)
    return names


anil_params = Key(
    reference=_below,
    mutants=(
        Mutant(
            "prefix_only",
            _prefix,
            "head2.weight begins with the letters of head, but is another part. After "
            "the head's name comes a dot, or nothing.",
        ),
        Mutant(
            "anywhere",
            _anywhere,
            "A part called head inside another module counts, too. The name must stand "
            "at the beginning.",
        ),
        Mutant(
            "contains",
            _contains,
            "Any name that contains the head's letters counts. The name must stand at "
            "the beginning, with a dot or nothing after it.",
        ),
        Mutant(
            "the_body",
            _body,
            "This is the body. ANIL (almost no inner loop) adapts the head alone.",
        ),
        Mutant(
            "silent",
            _silent,
            "A head that does not exist gives no name, so nothing would adapt, without "
            "a word. Raise a ValueError.",
        ),
        Mutant(
            "last_two",
            _last_layer,
            "You take the last two parameters. The head need not come last, and may "
            "have more or fewer than two.",
        ),
        Mutant(
            "weights_only",
            _weights,
            "The biases of the head are left out. They move as well.",
        ),
        Mutant(
            "head_ignored",
            _always_head,
            "The argument `head` is not used: the name is not always 'head'.",
        ),
        Mutant(
            "itself_missing",
            _only_below,
            "A parameter called just 'head', without a dot, is left out. The name "
            "itself counts as well.",
        ),
        Mutant(
            "pattern",
            _pattern,
            "In a regular expression a dot stands for any character, so 'net.1' finds "
            "'net_1'. Use re.escape, or no pattern at all.",
        ),
        Mutant(
            "first_part",
            _first_part,
            "Only the part before the first dot is compared. `head` may have dots "
            "itself, as in 'net.1'.",
        ),
        Mutant(
            "sorted",
            _sorted,
            "The names are sorted by the alphabet. Keep the order of params.",
        ),
        Mutant(
            "freezes",
            _freezes,
            "requires_grad of the given parameters is changed. In ANIL the body learns "
            "in the outer loop: only return the names.",
        ),
        Mutant(
            "one_level",
            _one_level,
            "Parts below the head are left out: with head = 'net', net.proj.weight "
            "belongs to it, too.",
        ),
    ),
)
