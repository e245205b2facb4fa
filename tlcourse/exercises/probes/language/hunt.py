"""A text classifier with six mistakes to find."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.language import networks as nets
from tlcourse.exercises.probes.language.common import words
from tlcourse.exercises.probing import Candidate, Seen
from tlcourse.exercises.spec import Case, Probe

_LOGITS, _TRAINED = "logits with the given head", "what the head learns"
_ALONE = "padding changes nothing"


def _make_hunt(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, steps: int, n: int = 9) -> Case:
        train = words(rng, [int(i) for i in rng.integers(2, 12, n)] + [12], nets.VOCAB)
        test = words(rng, [3, 9, 5, 7], nets.VOCAB)
        return Case(group, about, {
            "net_seed": int(rng.integers(2**31)),
            "train_ids": train[0],
            "train_mask": train[1],
            "y": rng.integers(0, 3, n + 1),
            "test_ids": test[0],
            "test_mask": test[1],
            "steps": steps,
            "rates": {"full": 0.02, "head": 0.6},
        })  # fmt: skip

    return [
        case(_LOGITS, "no step of training", 0),
        case(_LOGITS, "no step of training, other texts", 0, n=4),
        case(_TRAINED, "one step", 1),
        case(_TRAINED, "five steps", 5),
        case(_ALONE, "ten more columns of padding", 0),
    ]


def _observe_hunt(candidate: Candidate, case: Case) -> Seen:
    given = case.inputs
    encoder, head = nets.build_pair(3, given["net_seed"])
    encoder.train()  # as it may come from somebody's training loop
    before = torch.cat([p.detach().flatten() for p in encoder.parameters()])
    train = _batch(given["train_ids"], given["train_mask"])
    train["labels"] = torch.from_numpy(given["y"])
    test = _batch(given["test_ids"], given["test_mask"])

    def call(test: dict[str, Any]) -> Any:
        rates, steps = dict(given["rates"]), given["steps"]
        return candidate(encoder, head, dict(train), dict(test), rates, steps)

    logits = call(test)
    if case.group == _ALONE:
        wide = {k: torch.nn.functional.pad(v, (0, 10)) for k, v in test.items()}
        again = call(wide)
        changed = bool((logits - again).abs().max() > 1e-4)
        return {"logits changed": changed, "logits": logits}
    after = torch.cat([p.detach().flatten() for p in encoder.parameters()])
    moved = {"the encoder moved": not torch.equal(before, after)}
    if case.group == _LOGITS:
        return moved | {"logits": logits}
    learnt = {"head weight": head.linear.weight, "head bias": head.linear.bias}
    return moved | learnt | {"logits after training": logits}


def _batch(ids: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
    }


bug_hunt = Probe(
    id="language.bug_hunt",
    title="Bug hunt: a head on a language encoder",
    points=5,
    minutes=30,
    level="hard",
    hints=(
        "Follow one short text beside a long one: who sees its padding? Then follow "
        "the loss: how many times is it in the sum, and which rate multiplies its "
        "gradient? There are six mistakes.",
        "The encoder needs the attention mask, eval mode, and has no logits; the mean "
        "is over real tokens only; a head that is given labels returns the loss; only "
        "the head is trained, at the head's rate.",
        "encoder.eval(); hidden = encoder(input_ids, "
        "attention_mask).last_hidden_state; m = attention_mask.unsqueeze(-1); z = "
        "(hidden * m).sum(1) / m.sum(1); sgd_step(head, head(z, labels=labels).loss, "
        "rates['head']); at the end head(z_test).logits.",
    ),
    make=_make_hunt,
    observe=_observe_hunt,
    forbid=("tlcourse.language.mean_pool", "tlcourse.language.TextClassifier"),
)
