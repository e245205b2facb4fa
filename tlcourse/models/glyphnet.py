"""``glyphnet``: a small ResNet that the course pretrained on rendered characters."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlcourse.models.backbones import SmallResNet, small_resnet
from tlcourse.models.heads import replace_head
from tlcourse.models.missing import ModelMissing

WEIGHTS = Path(__file__).with_name("weights") / "glyphnet.safetensors"
WIDTH = 24
REBUILD = "rebuild it with: tlcourse data pretrain glyphnet"


def load_glyphnet(weights: str | None, num_classes: int | None) -> SmallResNet:
    """The pretrained network; see :func:`tlcourse.models.load` for the arguments.

    Raises:
        ModelMissing: the file is not in the package.
        ValueError: unknown weights, or a file that is damaged.
    """
    if weights not in ("default", "glyphs", None):
        raise ValueError(
            f"weights of 'glyphnet' are 'glyphs' or None for random ones, got "
            f"{weights!r}."
        )
    if weights is None:
        count = len(glyphnet_classes()) if num_classes is None else num_classes
        return small_resnet(count, width=WIDTH).eval()
    model = small_resnet(len(glyphnet_classes()), width=WIDTH)
    model.load_state_dict(read_weights(WEIGHTS)[0])
    if num_classes is not None:
        replace_head(model, num_classes)
    return model.eval()


def glyphnet_classes() -> tuple[str, ...]:
    """What the logits of the pretrained head mean, such as ``latin lower a``."""
    return tuple(read_weights(WEIGHTS)[1]["classes"])


def write_weights(file: Path, model: SmallResNet, metadata: dict[str, Any]) -> None:
    """Save as safetensors, and the file's SHA-256 beside it.

    Matrices and kernels are stored as float16, BatchNorm's statistics, whose
    variances may be small, as float32.
    """
    from safetensors.torch import save

    tensors = {
        name: (value.half() if value.ndim >= 2 else value).contiguous()
        for name, value in model.state_dict().items()
    }
    # One entry, because the order of several would differ from run to run.
    text = json.dumps(metadata, ensure_ascii=False)
    content = save(tensors, metadata={"glyphnet": text})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    _sum_file(file).write_text(hashlib.sha256(content).hexdigest() + "\n")


def read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dictionary in float32 and metadata, after a check of the SHA-256.

    Raises:
        ModelMissing: there is no such file, or no checksum beside it.
        ValueError: the file is not the one that was written.
    """
    if not file.is_file() or not _sum_file(file).is_file():
        raise ModelMissing(
            f"{file} or its checksum {_sum_file(file).name} is missing; {REBUILD}"
        )
    if (
        hashlib.sha256(file.read_bytes()).hexdigest()
        != _sum_file(file).read_text().strip()
    ):
        raise ValueError(
            f"{file} is damaged (its SHA-256 is not as recorded); {REBUILD}"
        )
    from safetensors import safe_open

    with safe_open(file, framework="pt") as content:
        state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        metadata = json.loads(content.metadata()["glyphnet"])
    full = {k: v.float() if v.dtype == torch.float16 else v for k, v in state.items()}
    return full, metadata


def _sum_file(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")
