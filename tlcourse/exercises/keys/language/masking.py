"""Masking: the reference, with its properties and mutants."""

from __future__ import annotations

from tlcourse import language
from tlcourse.exercises.keys.language.masking_mutants import MUTANTS
from tlcourse.exercises.keys.language.masking_properties import PROPERTIES
from tlcourse.exercises.spec import Key

mask_tokens = Key(
    reference=language.mask_tokens, properties=PROPERTIES, mutants=MUTANTS
)
