"""Submissions that mean harm, or only look like it: one module for each family."""

from hostile import (
    cells,
    cheating,
    crashing,
    endless,
    escaping,
    files,
    forging,
    honest,
    output,
    pages,
    resources,
    values,
)
from hostile.attack import EXERCISES, Attack

FAMILIES = {
    "endless": endless,
    "crashing": crashing,
    "output": output,
    "resources": resources,
    "files": files,
    "cells": cells,
    "forging": forging,
    "values": values,
    "cheating": cheating,
    "escaping": escaping,
    "pages": pages,
    "honest": honest,
}
ATTACKS: tuple[Attack, ...] = tuple(
    attack for family in FAMILIES.values() for attack in family.ATTACKS
)

__all__ = ["ATTACKS", "EXERCISES", "FAMILIES", "Attack"]
