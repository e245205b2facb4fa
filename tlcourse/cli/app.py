"""All commands, and the ones that look after the set-up: ``lab`` and ``doctor``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from tlcourse.cli import assigning, authoring, data, kernels, learning, teaching

if TYPE_CHECKING:
    from tlcourse.doctor import Finding

START = "chapters/00_start_here/lesson.ipynb"
_COLOURS = {"OK": "green", "NOTE": "yellow", "FAIL": "red"}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Transfer learning, taught with code that runs.\n\n"
    "Begin with `tlcourse lab`; if something does not work, `tlcourse doctor`.",
)
_SET_UP, _LEARN, _TEACH = "Set-up", "Learning", "Teaching"
_MAKE = "Making the course"


@app.command(rich_help_panel=_SET_UP)
def lab(
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open a browser.")
    ] = True,
    port: Annotated[
        int | None, typer.Option(help="Port to use.", min=1, max=65535)
    ] = None,
) -> None:
    """Open the course in JupyterLab, at chapter 00. Ctrl-C, twice, stops it.

    Examples:

      tlcourse lab
      tlcourse lab --no-browser --port 8890     on a server
    """
    from tlcourse.course import root
    from tlcourse.doctor import ESSENTIAL, examine

    folder = root()
    _show(f for f in examine(ESSENTIAL) if f.level != "OK")
    page = f"/lab/tree/{START}" if (folder / START).is_file() else "/lab"
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"--ServerApp.root_dir={folder}", f"--LabApp.default_url={page}"]
    command += [] if browser else ["--no-browser"]
    command += [] if port is None else [f"--port={port}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container, say
        command.append("--allow-root")
    sys.stdout.flush()
    if os.name == "nt":  # there, exec returns to the prompt at once
        raise typer.Exit(subprocess.call(command))
    os.execvp(command[0], command)


@app.command(rich_help_panel=_SET_UP)
def doctor(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only what takes no time."),
    ] = False,
) -> None:
    """Look whether all is here that the course needs, and say how to mend it.

    OK: fine. NOTE: something is limited. FAIL: something cannot run, and the
    exit code is 1. With --quick torch is not started and no data are loaded.

    Examples:

      tlcourse doctor
      tlcourse doctor --quick
    """
    from tlcourse.doctor import ESSENTIAL, examine

    if not _show(examine(ESSENTIAL) if quick else examine()):
        raise typer.Exit(1)


def _show(findings: Iterable[Finding]) -> bool:
    """Print findings as they come; whether none of them is a FAIL."""
    from rich.console import Console
    from rich.text import Text

    console, fine = Console(), True
    for finding in findings:
        line = Text(f"{finding.level:5}", style=_COLOURS[finding.level])
        console.print(line + Text(finding.what), soft_wrap=True)
        if finding.mend:
            console.print(Text(f"      {finding.mend}"), soft_wrap=True)
        fine = fine and finding.level != "FAIL"
    return fine


for command in (learning.check, learning.hint, learning.progress, learning.reset):
    app.command(rich_help_panel=_LEARN)(command)
for command in (assigning.assign, teaching.grade, teaching.feedback, teaching.export):
    app.command(rich_help_panel=_TEACH)(command)
for command in (authoring.build, authoring.study):
    app.command(rich_help_panel=_MAKE)(command)
app.add_typer(kernels.app, name="kernel", rich_help_panel=_SET_UP)
app.add_typer(data.app, name="data", rich_help_panel=_LEARN)
