"""What is asked about pairs and batches of texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcourse.exercises.probing import Candidate, Seen
from tlcourse.exercises.spec import Case, Probe

_LONGER, _BOTH = "the longer one first", "both too long"
_REFUSES = "refuses when no token would be left"


def _make_truncate_pair(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, m: int, room: int, num: int = 3) -> Case:
        return Case(group, about, {
            "a": [int(i) for i in rng.integers(5, 1000, n)],
            "b": [int(i) for i in rng.integers(5, 1000, m)],
            "max_length": room + num,
            "num_special": num,
        })  # fmt: skip

    short, long = int(rng.integers(3, 6)), int(rng.integers(15, 25))
    room = 2 * int(rng.integers(6, 9))
    return [
        case(_LONGER, "a short a, a long b", short, long, room),
        case(_LONGER, "a long a, a short b", long, short, room),
        case(_LONGER, "a single text, two special tokens", long, 0, room, 2),
        case(_BOTH, "an even room, a longer", long + 4, long, room),
        case(_BOTH, "an odd room, b longer", long, long + 3, room + 1),
        case(_BOTH, "an odd room, a longer", long + 3, long, room + 1),
        case(_BOTH, "equal lengths, room for one token", 4, 4, 1),
        case(_LONGER, "the pair just fits", short, room - short, room),
        case(_BOTH, "the pair is far shorter", short, short, room + 9, 4),
        case(_LONGER, "a pair, four special tokens", short, long, room, 4),
        case(_REFUSES, "max_length is num_special", short, short, 0),
        case(_REFUSES, "max_length is smaller", short, short, -1, 4),
    ]


def _observe_truncate_pair(candidate: Candidate, case: Case) -> Seen:
    given = case.inputs
    a, b = candidate(given["a"], given["b"], given["max_length"], given["num_special"])
    return {
        "length of a": len(a),
        "length of b": len(b),
        "a": np.array([int(i) for i in a]),
        "b": np.array([int(i) for i in b]),
    }


truncate_pair = Probe(
    id="language.truncate_pair",
    title="Shorten a pair, the longer text first",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "How many tokens of the two texts fit beside the special ones? Which of the "
        "two can better spare its last token?",
        "While len(a) + len(b) > max_length - num_special: the longer list loses its "
        "last token; of two equally long ones b does. Copy the lists first.",
        "room = max_length - num_special; raise ValueError if room < 1; a, b = "
        "list(a), list(b); while len(a) + len(b) > room: (a if len(a) > len(b) else "
        "b).pop(); return a, b.",
    ),
    make=_make_truncate_pair,
    observe=_observe_truncate_pair,
    forbid=("tlcourse.language.truncate_pair",),
)


_PADDING, _MASK, _LABELS = "padding", "attention mask", "labels"


def _make_collate(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, lengths: list[int], pad: int = 0, labels: bool = True,
        shift: int = 1,
    ) -> Case:  # fmt: skip
        classes = np.roll(np.arange(len(lengths)), shift)
        examples: list[dict[str, Any]] = []
        for n, label in zip(lengths, classes, strict=True):
            ids = [int(i) for i in rng.integers(5, 1000, n)]
            ids[n // 2] = pad  # a real token may have the number of padding
            example = {"input_ids": ids}
            examples.append(example | ({"label": int(label)} if labels else {}))
        return Case(group, about, {"examples": examples, "pad_id": pad})

    longest = int(rng.integers(8, 14))
    return [
        case(_PADDING, "texts of unequal length", [3, longest, 5, 6]),
        case(_PADDING, "equal lengths", [4, 4]),
        case(_PADDING, "one text, padding is token 1", [longest], pad=1),
        case(_PADDING, "padding is token 7", [6, 3, longest], pad=7),
        case(_MASK, "a text that contains the padding token", [3, 5, longest]),
        case(_MASK, "padding is token 9", [longest, 2, 4], pad=9),
        case(_LABELS, "four examples", [6, 3, longest, 4]),
        case(_LABELS, "the first label is 0", [6, longest, 5], shift=0),
        case(_LABELS, "examples without labels", [3, 5], labels=False),
    ]


def _observe_collate(candidate: Candidate, case: Case) -> Seen:
    batch = candidate(case.inputs["examples"], case.inputs["pad_id"])
    if case.group == _PADDING:
        return {"input_ids": batch["input_ids"]}
    if case.group == _MASK:
        return {"attention_mask": batch["attention_mask"]}
    names = ", ".join(sorted(str(name) for name in batch))
    labels = {"labels": batch["labels"]} if "labels" in batch else {}
    return {"names in the batch": names, **labels}


collate = Probe(
    id="language.collate",
    title="A batch with dynamic padding",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "How wide must this batch be, and where do you know from which positions are "
        "real: from the token numbers, or from the lengths?",
        "t = the longest text of the batch. Row i: its ids, then t - n_i times pad_id; "
        "mask row i: n_i ones, then t - n_i zeros. Labels are one int64 number each.",
        "ids = [e['input_ids'] + [pad_id] * (t - len(e['input_ids'])) for e in "
        "examples]; mask likewise with [1] * n + [0] * (t - n); torch.tensor of each; "
        "add 'labels' only if the examples have a 'label'.",
    ),
    make=_make_collate,
    observe=_observe_collate,
    forbid=("tlcourse.language.collate", "transformers.DataCollatorWithPadding"),
    forgeable=True,
)
