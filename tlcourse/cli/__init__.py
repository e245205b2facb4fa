"""The command line: one function per command, each with help that shows how."""

from __future__ import annotations

import sys

from tlcourse.cli.app import app
from tlcourse.cli.mistakes import is_mistake, tell

__all__ = ["app", "main"]


def main() -> None:
    """Run a command: exit code 0, 1 (what was asked failed) or 2 (wrong usage)."""
    try:
        app()
    except Exception as error:
        if not is_mistake(error):
            raise
        tell(error)
        sys.exit(1)
