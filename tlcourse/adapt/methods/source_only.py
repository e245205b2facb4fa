"""No adaptation: the baseline that every table needs."""

from __future__ import annotations

from dataclasses import dataclass

from tlcourse.adapt.method import Method


@dataclass
class SourceOnly(Method):
    """Cross-entropy on the source; the target is not looked at."""

    sees_target = False
