"""Networks of the course: small backbones, heads, hooks and pretrained models."""

from __future__ import annotations

from tlcourse.models.backbones import Mlp, SmallResNet, small_resnet
from tlcourse.models.glyphnet import glyphnet_classes
from tlcourse.models.heads import replace_head
from tlcourse.models.hooks import record
from tlcourse.models.language import LanguageModel
from tlcourse.models.lora import LoRALinear, add_lora, merge_lora
from tlcourse.models.missing import ModelMissing
from tlcourse.models.pretrained import load
from tlcourse.models.torchvision_hub import preprocessing

__all__ = [
    "LanguageModel",
    "LoRALinear",
    "Mlp",
    "ModelMissing",
    "SmallResNet",
    "add_lora",
    "glyphnet_classes",
    "load",
    "merge_lora",
    "preprocessing",
    "record",
    "replace_head",
    "small_resnet",
]
