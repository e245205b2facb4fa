"""Pairs of texts: what is right, and how the wrong tokens go."""

from __future__ import annotations

from tlcourse import language
from tlcourse.exercises.spec import Key, Mutant

Ids = list[int]
Pair = tuple[Ids, Ids]


def _room(max_length: int, num_special: int) -> int:
    if max_length <= num_special:
        raise ValueError("no room")
    return max_length - num_special


def _pops_in_place(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    while len(a) + len(b) > room:
        (a if len(a) > len(b) else b).pop()
    return a, b


def _specials_forgotten(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    _room(max_length, num_special)
    return language.truncate_pair(a, b, max_length, 0)


def _three_specials(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    _room(max_length, num_special)
    return language.truncate_pair(a, b, max_length, 3)


def _keeps_one_of_b(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    a, b = list(a), list(b)
    while len(a) + len(b) > room:
        (b if len(b) > 1 and len(b) >= len(a) else a).pop()
    return a, b


def _only_first(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    b = b[:room]
    return a[: room - len(b)], b


def _only_second(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    a = a[:room]
    return a, b[: room - len(a)]


def _halves(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    if len(a) + len(b) <= room:
        return a, b
    return a[: room - room // 2], b[: room // 2]


def _proportional(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    if len(a) + len(b) <= room:
        return a, b
    n = round(room * len(a) / (len(a) + len(b)))
    return a[:n], b[: room - n]


def _from_the_front(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    cut = language.truncate_pair(a[::-1], b[::-1], max_length, num_special)
    return cut[0][::-1], cut[1][::-1]


def _ties_from_a(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    second, first = language.truncate_pair(b, a, max_length, num_special)
    return first, second


def _one_too_many(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    room = _room(max_length, num_special)
    a, b = list(a), list(b)
    while a + b and len(a) + len(b) >= room:
        (a if len(a) > len(b) else b).pop()
    return a, b


def _unchecked(a: Ids, b: Ids, max_length: int, num_special: int) -> Pair:
    if max_length <= num_special:
        return [], []
    return language.truncate_pair(a, b, max_length, num_special)


truncate_pair = Key(
    reference=language.truncate_pair,
    mutants=(
        Mutant(
            "pops_in_place",
            _pops_in_place,
            "pop() shortens the caller's own lists: the texts stay cut, for every "
            "later epoch and another max_length. Copy them first.",
        ),
        Mutant(
            "specials_forgotten",
            _specials_forgotten,
            "[CLS] and [SEP] need room as well: with them the sequence is longer than "
            "max_length. The texts share max_length - num_special.",
        ),
        Mutant(
            "three_specials",
            _three_specials,
            "3 special tokens are fixed in your code, but a single text has 2 and some "
            "tokenizers add 4. Use num_special.",
        ),
        Mutant(
            "keeps_one_of_b",
            _keeps_one_of_b,
            "The last token of b is never taken. The rule has no exception: of two "
            "equally long texts b loses, even its last token.",
        ),
        Mutant(
            "only_first",
            _only_first,
            "Only a is cut, however short it is: a question of four words disappears "
            "beside a long paragraph. Cut the longer one.",
        ),
        Mutant(
            "only_second",
            _only_second,
            "Only b is cut, even when a is far longer. Cut the longer one, and both "
            "when they are equally long.",
        ),
        Mutant(
            "halves",
            _halves,
            "Each text gets half of the room, even when the other does not need its "
            "half. What a short text leaves free belongs to the long one.",
        ),
        Mutant(
            "proportional",
            _proportional,
            "Both are cut in proportion to their lengths, so a short text loses tokens "
            "while the other is still longer. Only the longer one loses any.",
        ),
        Mutant(
            "from_the_front",
            _from_the_front,
            "Tokens go from the front. Here texts lose their end: the beginning of a "
            "text mostly says what it is about.",
        ),
        Mutant(
            "ties_from_a",
            _ties_from_a,
            "Of two equally long texts a loses the token in your code. The statement "
            "takes it from b, as BERT's own code does.",
        ),
        Mutant(
            "one_too_many",
            _one_too_many,
            "One token too many is cut: a pair that fits exactly may stay. Compare "
            "with > and not with >=.",
        ),
        Mutant(
            "unchecked",
            _unchecked,
            "With max_length <= num_special no token is left, and an empty pair went "
            "on in silence. Raise a ValueError.",
        ),
    ),
)
