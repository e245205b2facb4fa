"""A second right answer to each exercise, in another style than solutions/."""

import types
from itertools import zip_longest

import torch
from torch.nn.utils.rnn import pad_sequence


def mean_pool(hidden, mask):
    if not mask.bool().any(dim=1).all():
        raise ValueError("empty text")
    weights = mask.to(hidden.dtype)
    weights = weights / weights.sum(1, keepdim=True)
    return torch.einsum("btd,bt->bd", hidden, weights)


def mask_tokens(ids, special, mask_id, vocab_size, probability, generator):
    # As Transformers does it: Bernoulli draws, one after the other.
    def coin(p):
        return torch.bernoulli(torch.full(ids.shape, p), generator=generator).bool()

    chosen = coin(float(probability)) & ~special
    masked = chosen & coin(0.8)
    replaced = chosen & ~masked & coin(0.5)
    words = torch.randint(0, vocab_size, ids.shape, generator=generator)
    inputs = ids.masked_fill(masked, mask_id).where(~replaced, words)
    return inputs, ids.masked_fill(~chosen, -100)


def llrd_groups(model, lr, decay):
    encoder = next(m for m in model.modules() if hasattr(m, "embeddings"))
    stages = [encoder.embeddings, *encoder.encoder.layer]
    used, groups = set(), []
    for depth, stage in enumerate(stages):
        inside = [p for p in stage.parameters() if p not in used]
        used.update(inside)
        rate = lr * decay ** (len(stages) - depth)
        groups.append({"params": [p for p in inside if p.requires_grad], "lr": rate})
    rest = [p for p in model.parameters() if p not in used and p.requires_grad]
    return [*groups, {"lr": lr, "params": rest}]


def truncate_pair(a, b, max_length, num_special):
    room = max_length - num_special
    if room <= 0:
        raise ValueError("no room")
    # Take tokens in turn, the first text first, until there is no more room.
    kept = ([], [])
    for pair in zip_longest(a, b):
        for side, token in zip(kept, pair, strict=True):
            if token is not None and len(kept[0]) + len(kept[1]) < room:
                side.append(token)
    return kept


def collate(examples, pad_id):
    rows = [torch.tensor(e["input_ids"]) for e in examples]
    ones = [torch.ones_like(row) for row in rows]
    batch = {
        "attention_mask": pad_sequence(ones, batch_first=True),
        "input_ids": pad_sequence(rows, batch_first=True, padding_value=pad_id),
    }
    labels = [e["label"] for e in examples if "label" in e]
    return batch | ({"labels": torch.as_tensor(labels)} if labels else {})


def freeze_all_but_head(model):
    body = model.base_model
    inside = {id(p) for p in body.parameters()}
    if all(id(p) in inside for p in model.parameters()):
        raise ValueError("no head")
    for p in model.parameters():
        p.requires_grad_(id(p) not in inside)

    def train(self, mode=True):
        type(self).train(self, mode)
        body.eval()
        return self

    model.train = types.MethodType(train, model)
    body.eval()
    return model


def bug_hunt(encoder, head, train, test, rates, steps):
    encoder = encoder.eval().requires_grad_(False)

    def features(batch):
        mask = batch["attention_mask"].bool()
        hidden = encoder(**{k: v for k, v in batch.items() if k != "labels"})
        rows = zip(hidden.last_hidden_state, mask, strict=True)
        return torch.stack([states[real].mean(0) for states, real in rows])

    z, y = features(train), train["labels"]
    for _ in range(steps):
        head.zero_grad()
        torch.nn.functional.cross_entropy(head(z).logits, y).backward()
        for p in head.parameters():
            p.data.add_(p.grad, alpha=-rates["head"])
    return head(features(test)).logits
