"""Submissions that mean harm, or only look like it: one module for each family."""

from hostile import (
    cells,
    cheating,
    crashing,
    draining,
    endless,
    escaping,
    files,
    forging,
    honest,
    importing,
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
    "importing": importing,
    "draining": draining,
    "pages": pages,
    "honest": honest,
}
ATTACKS: tuple[Attack, ...] = tuple(
    attack for family in FAMILIES.values() for attack in family.ATTACKS
)

# The same rows by other means: in the full run only.
_MORE = """
c-call-in-cell endless-iterator endless-generator-item loop-in-answer segfault-in-cell
kills-itself-in-answer kills-itself-in-cell aborts-in-answer aborts-in-cell
sys-exit-in-answer quits stack-overflow-in-c exits-later prints-by-descriptor
shows-a-huge-value shows-many-outputs raises-a-huge-message warns-without-end
raises-a-huge-message-in-answer prints-for-ever-in-answer prints-200000-lines
returns-a-huge-tensor takes-3-gigabytes-in-answer starts-500-threads
fills-shared-memory makes-a-million-files strips-and-shuffles gives-odd-points
makes-answers-graded turns-tests-into-text puts-tests-first swaps-grade-ids
has-one-id-for-all brings-its-own-outputs renames-the-tests-honestly
deletes-the-tests-honestly asks-for-another-kernel patches-the-wire patches-the-cases
patches-the-limits patches-the-judge replaces-the-wire-in-every-module
forges-a-shell-reply transforms-input returns-infinity returns-a-huge-integer
returns-a-complex returns-bytes returns-nothing returns-a-type returns-nested-lists
returns-objects returns-a-sparse-tensor returns-a-meta-tensor returns-a-sly-number
raises-always-a-value-error is-not-there searches-other-processes imports-the-keys
is-the-reference shadows-torch-by-a-cell returns-scripts is-called-script
raises-scripts logs uses-magics asks-for-hints sets-a-seed uses-threads
hides-memory-in-memfd hides-memory-in-shared-segments hides-memory-in-programs
fills-the-socket-folder nests-folders-among-sockets falls-silent replies-with-brackets
is-made-of-spaces prints-in-many-cells asks-to-be-looked-at-again
checks-and-changes-it-afterwards waits-in-a-cell has-no-widgets is-timed is-partial
loads-with-workers is-an-object is-decorated is-a-data-class has-hints-of-the-future
turns-gradients-off has-a-class-of-its-own has-a-broken-cell-of-its-own prints
"""
MORE = frozenset(_MORE.split())

__all__ = ["ATTACKS", "EXERCISES", "FAMILIES", "MORE", "Attack"]
