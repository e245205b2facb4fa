"""LoRA: what is right, and updates that never learn, never stop or never merge."""

from __future__ import annotations

from tlcourse import models
from tlcourse.exercises.keys.fine_tuning import lora_learning, lora_merging
from tlcourse.exercises.spec import Key

lora_linear = Key(
    reference=models.LoRALinear,
    mutants=lora_learning.MUTANTS + lora_merging.MUTANTS,
)
