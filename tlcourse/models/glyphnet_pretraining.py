"""How ``glyphnet`` is made: pretraining on seen scripts, and its model card."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlcourse import data, metrics, training
from tlcourse.models.backbones import SmallResNet, small_resnet
from tlcourse.models.glyphnet import WEIGHTS, WIDTH, read_weights, write_weights

SEEN = (
    ("digits", None),
    ("latin", "lower"),
    ("latin", "upper"),
    ("cyrillic", "lower"),
)
UNSEEN = ("greek", "armenian", "georgian", "hebrew", "tifinagh")
LEARNING_RATES = (2e-3, 2e-3, 2e-3, 1e-3, 1e-3, 5e-4, 2e-4, 5e-5)
SHOTS = 5


def pretrain(
    out: str | Path = WEIGHTS,
    seed: int = 0,
    progress: bool = True,
    *,
    card: str | Path | None = None,
    per_class: int = 110,
) -> Path:
    """Pretrain ``glyphnet`` and write its weights, their SHA-256 and its card.

    Fresh renderings every epoch, all faces, one class per character and case; the
    same seed gives the same weights on the same computer and torch.

    Args:
        out: the safetensors file to write.
        seed: whole number, at least 0.
        progress: print one line per epoch on stdout.
        card: the Markdown file for the measured accuracies; not measured without it.
        per_class: renderings of each character and epoch.

    Returns:
        The file written.
    """
    out = Path(out)
    names, parts = _classes()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = small_resnet(len(names), width=WIDTH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    for epoch, lr in enumerate(LEARNING_RATES):
        for group in optimizer.param_groups:
            group["lr"] = lr
        pair = _renderings(parts, per_class, seed * 1000 + epoch)
        history = training.fit(
            model, pair, epochs=1, optimizer=optimizer, seed=epoch, progress=False
        )
        if progress:
            print(
                f"epoch {epoch + 1} of {len(LEARNING_RATES)}: "
                f"loss {history.train_loss[0]:.3f}",
                flush=True,
            )
    write_weights(out, model, _metadata(names, seed, per_class))
    if card is not None:
        _write_card(Path(card), out, parts, seed)
    return out


def _classes() -> tuple[list[str], dict[tuple[str, str | None], slice]]:
    """Class names of the head, and which of its logits belong to each script."""
    names: list[str] = []
    parts = {}
    for script, case in SEEN:
        letters = data.load("glyphs", script=script, case=case, per_class=1).classes
        parts[script, case] = slice(len(names), len(names) + len(letters))
        names += [" ".join(filter(None, (script, case, letter))) for letter in letters]
    return names, parts


def _renderings(parts: Any, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(n, 1, 32, 32)`` of all seen scripts with the head's classes."""
    xs, ys = [], []
    for (script, case), part in parts.items():
        glyphs = _glyphs(script, case, per_class, seed)
        xs.append(glyphs.x)
        ys.append(glyphs.y + part.start)
    return torch.cat(xs), torch.cat(ys)


def _glyphs(script: str, case: str | None, per_class: int, seed: int) -> data.Dataset:
    options = {"script": script, "case": case, "per_class": per_class, "seed": seed}
    return data.load("glyphs", face="all", **options)


def _metadata(names: list[str], seed: int, per_class: int) -> dict[str, Any]:
    return {
        "classes": names,
        "architecture": f"small_resnet(num_classes={len(names)}, width={WIDTH})",
        "seed": seed,
        "per_class": per_class,
        "epochs": len(LEARNING_RATES),
        "torch": torch.__version__.split("+")[0],
    }


def _write_card(card: Path, weights: Path, parts: Any, seed: int) -> None:
    """Measure the file as it was written, float16 rounding included."""
    state, metadata = read_weights(weights)
    model = small_resnet(len(metadata["classes"]), width=WIDTH)
    model.load_state_dict(state)
    seen = [_seen_row(model, key, part, seed) for key, part in parts.items()]
    unseen = [_unseen_row(model, script, seed) for script in UNSEEN]
    card.parent.mkdir(parents=True, exist_ok=True)
    text = CARD.format(
        seen="\n".join(seen),
        unseen="\n".join(unseen),
        parameters=sum(p.numel() for p in model.parameters()),
        size=f"{weights.stat().st_size / 1e6:.2f}",
        shots=SHOTS,
        python=platform.python_version(),
        **metadata,
    )
    card.write_text(text, encoding="utf-8")


def _seen_row(model: SmallResNet, key: Any, part: slice, seed: int) -> str:
    """Accuracy on fresh renderings, over all classes and within the script."""
    script, case = key
    glyphs = _glyphs(script, case, 44, seed * 1000 + 900)
    logits = training.predict(model, glyphs)  # (n, all classes)
    own = metrics.accuracy(logits[:, part], glyphs.y)
    among_all = metrics.accuracy(logits, glyphs.y + part.start)
    title = " ".join(filter(None, (script, case)))
    return f"| {title} | {len(glyphs.classes)} | {own:.3f} | {among_all:.3f} |"


def _unseen_row(model: SmallResNet, script: str, seed: int) -> str:
    """Probes with few labels on glyphnet's features, random ones, and pixels."""
    glyphs = _glyphs(script, None, 60, seed * 1000 + 901)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random = small_resnet(2, width=WIDTH)
    inputs = [_features(model, glyphs.x), _features(random, glyphs.x)]
    inputs.append(glyphs.x.flatten(1))
    cells = []
    for z in inputs:
        scores = [_probe(replace(glyphs, x=z), draw) for draw in range(5)]
        cells.append(str(metrics.mean_interval(scores)))
    return f"| {script} | {len(glyphs.classes)} | {' | '.join(cells)} |"


def _features(model: SmallResNet, x: Tensor) -> Tensor:
    """Features ``(n, d)`` in eval mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model.features(part) for part in x.split(128)])


def _probe(features: data.Dataset, draw: int) -> float:
    """Test accuracy of logistic regression on a few labels per class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    support, rest = features.few_shot(SHOTS, seed=draw)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    probe.fit(support.x.numpy(), support.y.numpy())
    return float(probe.score(rest.x.numpy(), rest.y.numpy()))


CARD = """\
<!-- Written by `tlcourse data pretrain glyphnet`; do not edit. -->
# glyphnet

A small residual network for grey 32 x 32 pictures of single characters, white on
black, values in [0, 1]: `{architecture}`, {parameters:,} parameters, {size} MB.

## Training

Rendered characters (`tlcourse.data.load("glyphs")`), every face that matplotlib
ships, {per_class} pictures of each character and epoch, fresh in each of {epochs}
epochs; AdamW with falling learning rate; seed {seed}; torch {torch}, Python {python}.
The classes stand in the file's metadata. No other script was seen.

## Seen scripts

Accuracy on fresh renderings in the same faces. Some characters look alike across
scripts and cases (Latin and Cyrillic *a*, lower and upper *o*): hence two columns.

| script | classes | among its own classes | among all classes |
|---|---|---|---|
{seen}

## Unseen scripts

A linear probe (logistic regression on standardised features) with {shots} labels per
class, tested on the rest: mean over five draws of the labels, with its 95 % interval.
The random network is the same architecture before any training.

| script | classes | glyphnet | random network | pixels |
|---|---|---|---|---|
{unseen}

## Limits

Rendered characters in a few families of fonts, not handwriting, not photographs and
not text lines. The faces of the test pictures are those of training.
"""
