# %% [markdown]
# # Language: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("language.mean_pool")` gives
# one of three hints.
#
# Seven exercises, 27 points, and one question that a person marks. No check loads
# a large model: where one is needed, a tiny network has the same parts, names and
# outputs as BERT in Hugging Face's Transformers.

# %%
import re

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import check, hint, progress

# %% [markdown]
# ## 1. Mean over the real tokens
#
# Write `mean_pool(hidden, mask)`, one vector per text:
#
# $$z_i=\frac{\sum_t m_{it}\,h_{it}}{\sum_t m_{it}}.$$
#
# - `hidden`: $h$, float $(b, t, d)$. `mask`: $m$, $(b, t)$, 1 for tokens and 0 for
#   padding, of type int64, bool or float. Padding may stand on either side.
# - Return $(b, d)$ with the dtype of `hidden` (float16, float32 or float64),
#   whatever the mask's. Gradients flow back to `hidden`, which is not changed.
# - A text without any token is a `ValueError`.
#
# By hand, with $d=1$: states $(2, 4, 9)$ with mask $(1, 1, 0)$ give
# $\frac{2+4}{2}=3$; the plain mean would be $5$.


# %% answer="language.mean_pool"
def mean_pool(hidden, mask):
    ### BEGIN SOLUTION
    m = mask.to(hidden.dtype).unsqueeze(-1)
    counts = m.sum(dim=1)
    if (counts == 0).any():
        raise ValueError("a text has no token, so its mean does not exist")
    return (hidden * m).sum(dim=1) / counts
    ### END SOLUTION


# %% check="language.mean_pool"
check("language.mean_pool", mean_pool)

# %% [markdown]
# ## 2. Hide tokens as BERT does
#
# Write `mask_tokens(ids, special, mask_id, vocab_size, probability, generator)`. It
# returns the pair `inputs, labels`, both int64 of the shape of `ids`.
#
# - `ids`: token numbers int64 $(b, t)$, which are not changed. `special`: bool
#   $(b, t)$, `True` for `[CLS]`, `[SEP]` and padding: nothing happens there.
# - Every other position is **chosen** by itself with `probability`; in a short text
#   perhaps none is. A chosen token becomes `mask_id` with probability 0.8, a random
#   token with 0.1, drawn evenly from $0,\dots,$ `vocab_size` $-1$, and stays with
#   0.1: a draw for each position.
# - `labels` hold the original token where one was chosen, and $-100$ elsewhere.
# - All randomness comes from `generator` (a `torch.Generator` on the CPU): equal
#   seeds, equal results; a later call goes on drawing from it. torch's global random state stays as it is.
#
# By hand: `[CLS] a cat sat [SEP]`, of which *cat* was chosen. Inputs:
# `[CLS] a [MASK] sat [SEP]`, or with *dog*, or with *cat*. Labels in all three
# cases: $-100,-100,$ *cat*, $-100,-100$.


# %% answer="language.mask_tokens"
def mask_tokens(ids, special, mask_id, vocab_size, probability, generator):
    ### BEGIN SOLUTION
    chosen = torch.rand(ids.shape, generator=generator) < probability
    chosen = chosen & ~special
    labels = ids.clone()
    labels[~chosen] = -100

    fate = torch.rand(ids.shape, generator=generator)
    words = torch.randint(vocab_size, ids.shape, generator=generator)
    inputs = ids.clone()
    inputs[chosen & (fate < 0.8)] = mask_id
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    inputs[replaced] = words[replaced]
    return inputs, labels
    ### END SOLUTION


# %% check="language.mask_tokens"
check("language.mask_tokens", mask_tokens)

# %% [markdown]
# ## 3. Layer-wise learning rates
#
# Write `llrd_groups(model, lr, decay)`, a list of parameter groups for an
# optimiser: dicts with `params` and `lr`. For an encoder of $L$ layers, numbered
# from $0$ at the bottom, with $\eta$ = `lr` and $\xi$ = `decay`:
#
# | the parameter's name contains | rate |
# |---|---|
# | `embeddings.` | $\eta\,\xi^{L+1}$ |
# | `encoder.layer.i.` | $\eta\,\xi^{L-i}$ |
# | neither (pooler, classifier, ...) | $\eta$ |
#
# - Each parameter with `requires_grad` is in exactly one group. The groups' number
#   and order are free. A matrix with two names (tied weights) counts under the first
#   one, as in `model.named_parameters()`.
# - Frozen parameters are in no group, but their layers count for $L$.
#
# By hand: $L=2$, $\eta=1$, $\xi=\tfrac12$: head $1$, layer 1 $\tfrac12$, layer 0
# $\tfrac14$, embeddings $\tfrac18$.


# %% answer="language.llrd_groups"
def llrd_groups(model, lr, decay):
    ### BEGIN SOLUTION
    pattern = re.compile(r"encoder\.layer\.(\d+)\.")
    layers = [pattern.search(name) for name, _ in model.named_parameters()]
    num_layers = 1 + max(int(found[1]) for found in layers if found)

    groups = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        found = pattern.search(name)
        if found:
            power = num_layers - int(found[1])
        elif "embeddings." in name:
            power = num_layers + 1
        else:
            power = 0
        groups.append({"params": [parameter], "lr": lr * decay**power})
    return groups
    ### END SOLUTION


# %% check="language.llrd_groups"
check("language.llrd_groups", llrd_groups)

# %% [markdown]
# ## 4. Shorten a pair of texts
#
# Write `truncate_pair(a, b, max_length, num_special)`. `a` and `b` are lists of
# token numbers without special ones; `b` may be empty. Return two lists that fit:
# together at most `max_length - num_special` tokens, because `num_special` tokens
# ([CLS], [SEP]) will be added.
#
# - While the pair is too long, the **longer** text loses its **last** token. Of two
#   equally long texts `b` does.
# - `a` and `b` themselves stay as they are.
# - `max_length <= num_special` leaves no token: a `ValueError`.
#
# By hand: 5 and 2 tokens, `max_length` 8, 3 special ones. Room: 5. The first text
# loses two tokens: 3 and 2. With `max_length` 6 the room is 3: 5, 4, 3, 2 and then,
# at 2 and 2, the second text loses one: 2 and 1.


# %% answer="language.truncate_pair"
def truncate_pair(a, b, max_length, num_special):
    ### BEGIN SOLUTION
    room = max_length - num_special
    if room < 1:
        raise ValueError(f"{max_length} leaves no room beside {num_special} tokens")
    a, b = list(a), list(b)
    while len(a) + len(b) > room:
        if len(a) > len(b):
            a.pop()
        else:
            b.pop()
    return a, b
    ### END SOLUTION


# %% check="language.truncate_pair"
check("language.truncate_pair", truncate_pair)

# %% [markdown]
# ## 5. A batch with dynamic padding
#
# Write `collate(examples, pad_id)`. `examples` is a list of dicts with `input_ids`,
# a list of token numbers (at least one), and, in all of them or in none, `label`, a
# class number. Return a dict of int64 tensors:
#
# - `input_ids` $(b, t)$, where $t$ is the longest text **of this batch**, filled up
#   on the right with `pad_id`;
# - `attention_mask` $(b, t)$, 1 for tokens and 0 for padding. A real token may have
#   the number `pad_id`; it is a token all the same;
# - `labels` $(b,)$, only if the examples have a `label`.
#
# The order is kept, and the examples are not changed.
#
# By hand: texts $(5, 8)$ and $(7)$ with `pad_id` 0 give ids
# $\begin{pmatrix}5&8\\7&0\end{pmatrix}$ and mask
# $\begin{pmatrix}1&1\\1&0\end{pmatrix}$.


# %% answer="language.collate"
def collate(examples, pad_id):
    ### BEGIN SOLUTION
    longest = max(len(example["input_ids"]) for example in examples)
    ids, mask = [], []
    for example in examples:
        tokens = example["input_ids"]
        gap = longest - len(tokens)
        ids.append(tokens + [pad_id] * gap)
        mask.append([1] * len(tokens) + [0] * gap)
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if "label" in examples[0]:
        batch["labels"] = torch.tensor([example["label"] for example in examples])
    return batch
    ### END SOLUTION


# %% check="language.collate"
check("language.collate", collate)

# %% [markdown]
# ## 6. Freeze the body of a text classifier
#
# Write `freeze_all_but_head(model)`. It changes a classifier in place and returns
# it. As in Hugging Face, `model.base_model` is the body (a property, whatever the
# attribute's name: `bert`, `roberta`, ...); the head is everything outside it.
#
# - The body's parameters ask for no gradient. Every module of the body is in eval
#   mode (`training` is `False`) now and **after** `model.train()`: its dropout
#   never drops.
# - All parameters outside the body learn, also if they were frozen before. The model
#   itself and the head's modules follow `model.train()` and `model.eval()`, which
#   return the model. Other models of the same class stay as they are.
# - A bare encoder is its own `base_model`: a `ValueError`.
#
# By hand: dropout with $p=\tfrac12$ makes of the feature $3$ either $0$ or $6$. A
# frozen body in train mode would give both for one text, in turn.


# %% answer="language.freeze_all_but_head"
def freeze_all_but_head(model):
    ### BEGIN SOLUTION
    body = model.base_model
    if body is model:
        raise ValueError("a bare encoder has no head that could learn")
    for parameter in model.parameters():
        parameter.requires_grad = True
    for parameter in body.parameters():
        parameter.requires_grad = False
    body.eval()
    body.train = lambda mode=True: body
    return model
    ### END SOLUTION


# %% check="language.freeze_all_but_head"
check("language.freeze_all_but_head", freeze_all_but_head)

# %% [markdown]
# ## 7. Bug hunt: a head on a language encoder
#
# The code below has **six mistakes**, each of them common. One stops it at once;
# the other five never raise an error.
#
# `bug_hunt(encoder, head, train, test, rates, steps)` trains a head on a frozen
# encoder and returns logits $(m, c)$ for the test texts.
#
# - `encoder(input_ids, attention_mask)` is a bare encoder (`AutoModel`): it returns
#   `.last_hidden_state` $(b, t, d)$. Features of a text: their mean over its real
#   tokens, the same each time (it comes in train mode; its dropout must not drop).
# - `head(z, labels=None)` returns `.logits`, and if labels are given also `.loss`,
#   the mean cross-entropy.
# - `train` holds `input_ids`, `attention_mask`, `labels`; `test` the first two.
# - Only the head learns: `steps` steps of `sgd_step` on all training texts, on the
#   mean cross-entropy. `rates["full"]` is for training a whole model,
#   `rates["head"]` for a head alone.
#
# The step comes first. It is right; use it as it is.


# %%
def sgd_step(module, loss, lr):
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= lr * gradient


# %% answer="language.bug_hunt"
### BEGIN STUB
def pooled(encoder, batch):
    hidden = encoder(batch["input_ids"]).last_hidden_state
    return hidden.mean(dim=1)


def bug_hunt(encoder, head, train, test, rates, steps):
    for _ in range(steps):
        z = pooled(encoder, train)
        output = head(z, labels=train["labels"])
        loss = output.loss + F.cross_entropy(output.logits, train["labels"])
        sgd_step(head, loss, rates["full"])
    return encoder(test["input_ids"], test["attention_mask"]).logits


### END STUB
### BEGIN SOLUTION
def pooled(encoder, batch):
    encoder.eval()
    mask = batch["attention_mask"]
    with torch.no_grad():
        hidden = encoder(batch["input_ids"], mask).last_hidden_state
    mask = mask.unsqueeze(-1)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


def bug_hunt(encoder, head, train, test, rates, steps):
    z = pooled(encoder, train)
    for _ in range(steps):
        sgd_step(head, head(z, labels=train["labels"]).loss, rates["head"])
    return head(pooled(encoder, test)).logits


### END SOLUTION


# %% check="language.bug_hunt"
check("language.bug_hunt", bug_hunt)

# %% [markdown] question="language-why" points=2
# ## 8. A plan for support tickets (marked by a person)
#
# A company wants to sort support tickets into twelve topics. It has 15 labelled
# tickets per topic, 200,000 unlabelled ones full of product names, customers in three
# languages, and one laptop. In at most 150 words: what would you build first, what
# would you try next, how would you compare them, and which result would make you
# stay with the first?
#
# === BEGIN MARK SCHEME ===
# 1 point for the plan: first a baseline of TF-IDF and a linear model, and frozen
# sentence embeddings (mean over real tokens) with a linear head; a multilingual
# encoder or a check per language; next LoRA or full fine-tuning with a small,
# layer-wise rate, and domain-adaptive pretraining on the unlabelled tickets.
# 1 point for the comparison: test tickets apart, split by customer or time, no
# near-duplicates on both sides; several draws of the 15 labels, paired, with an
# interval; accuracy per language; stay with frozen features if the gain is within the
# interval or does not pay for the training and for a model per update.
# === END MARK SCHEME ===
