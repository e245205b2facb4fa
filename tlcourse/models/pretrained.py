"""One function for every pretrained model: the course's, torchvision's, the Hub's."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from tlcourse.models.glyphnet import load_glyphnet
from tlcourse.models.language import load_huggingface, load_minilm
from tlcourse.models.missing import ModelMissing
from tlcourse.models.torchvision_hub import load_torchvision, torchvision_names


def load(
    name: str,
    *,
    weights: str | None = "default",
    num_classes: int | None = None,
    download: bool = False,
) -> Any:
    """Load a model by name, from this computer unless ``download`` says otherwise.

    ``glyphnet``: the course's ResNet for grey 32x32 pictures. ``minilm``: a real
    sentence encoder from an installed package. ``resnet18`` or any other name that
    torchvision builds. A Hugging Face name such as ``bert-base-uncased``, or a
    folder that ``save_pretrained`` wrote. ``TORCH_HOME``, ``HF_HOME``,
    ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` are honoured when set before Python
    starts. A new head is random: seed before the call.

    Args:
        name: the model.
        weights: ``default`` for the best pretrained ones, None for random ones; also
            ``glyphs`` (glyphnet), ``imagenet`` or a name such as ``IMAGENET1K_V1``
            (torchvision).
        num_classes: put a fresh classifier with so many logits in place of the old
            one; on a language encoder, make it a sequence classifier.
        download: fetch what is not here.

    Returns:
        A module in eval mode; for language models a ``LanguageModel`` with
        ``.model`` and ``.tokenizer``. What a torchvision model wants its pictures
        to look like says :func:`tlcourse.models.preprocessing`.

    Raises:
        ModelMissing: files are not here; the message names them and the ways to
            provide them.
        ValueError: an unknown option, or a file that is damaged.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a model's name or a folder, got {name!r}.")
    if name == "glyphnet":
        return load_glyphnet(weights, num_classes)
    if name == "minilm":
        return load_minilm(weights, num_classes)
    if Path(name).is_dir():
        return load_huggingface(name, weights, num_classes, download)
    if name[0] in "./~":
        raise ModelMissing(f"there is no folder {name}; check the path.")
    vision = [] if "/" in name else torchvision_names()
    if name in vision:
        return load_torchvision(name, weights, num_classes, download)
    try:
        return load_huggingface(name, weights, num_classes, download)
    except ModelMissing as error:
        known = ["glyphnet", "minilm", *vision]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if not near:
            raise
        raise ModelMissing(f"{error}\nOr did you mean {near[0]!r}?") from error
