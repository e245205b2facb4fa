"""``kernel install · remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from tlcourse.sandbox.kernelspec import NAME

app = typer.Typer(
    no_args_is_help=True,
    help="A kernel that starts at once, for JupyterLab, nbval and nbgrader.",
)
Name = Annotated[str, typer.Option("--name", help="The kernel's name.")]


@app.command()
def install(name: Name = NAME) -> None:
    """Install the warm kernel: its kernels start with torch already loaded.

    For your own notebooks: in JupyterLab choose "Transfer learning (warm)"; with
    nbval `pytest --nbval-lax --nbval-kernel-name tlcourse-warm`; with nbgrader
    `--ExecutePreprocessor.kernel_name=tlcourse-warm`.

    Not for grading: such a kernel has all your rights. `tlcourse grade` uses
    isolated kernels of its own and needs no kernel installed.

    Kernels are forked, which needs Linux; elsewhere the name is an ordinary kernel.

    Examples:

      tlcourse kernel install
      tlcourse kernel remove
    """
    from tlcourse.sandbox import kernelspec

    folder = kernelspec.install(name)
    kind = "warm" if kernelspec.can_fork() else "an ordinary kernel"
    print(f"Installed {name} ({kind}) in {folder}.")
    if not kernelspec.can_fork():
        print("Warm kernels are forked, which needs Linux: here it starts as usual.")


@app.command()
def remove(name: Name = NAME) -> None:
    """Remove the warm kernel from this environment.

    Example:

      tlcourse kernel remove
    """
    from tlcourse.sandbox import kernelspec

    there = kernelspec.remove(name)
    print(f"Removed {name}." if there else f"There is no kernel {name}.")
