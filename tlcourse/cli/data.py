"""``data list · show · download · pretrain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tlcourse.data.dataset import Dataset

app = typer.Typer(
    no_args_is_help=True,
    help="The data sets and the course's own pretrained network.",
)
Name = Annotated[str, typer.Argument(help="A data set, see `tlcourse data list`.")]
_ON_REQUEST = {  # these have no files of their own
    "imagefolder": 'load("imagefolder", root="...")',
    "huggingface": 'load("huggingface", path="...")',
}


def _load(name: str) -> Dataset:
    from tlcourse import data
    from tlcourse.doctor.contents import OFFLINE

    return data.load(name, **OFFLINE.get(name, {}))


@app.command("list")
def list_sets() -> None:
    """List all data sets: their origin, size and licence, and where to get them.

    Example:

      tlcourse data list
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tlcourse import data

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("name", "origin", "size", "licence", "download"):
        table.add_column(column, no_wrap=column == "name")
    with Console(stderr=True).status("Reading cards …"):
        for name in data.names():
            table.add_row(*map(Text, (name, *_about(name))))
    Console().print(table)
    print("Fetch what is needed with: tlcourse data download NAME")


def _about(name: str) -> tuple[str, str, str, str]:
    """Origin, size, licence and whether files are needed."""
    from tlcourse.data import DataMissing
    from tlcourse.doctor.contents import OFFLINE

    if name in _ON_REQUEST:
        return "yours", "", "", "your files"
    try:
        card = _load(name).card
    except DataMissing:
        return "real", "", "", "needed"
    needed = "not needed" if name in OFFLINE else "is here"
    return card.origin, card.size, card.licence, needed


@app.command()
def show(name: Name) -> None:
    """Print a data set's card: what, where from, licence, size, whom to cite.

    Example:

      tlcourse data show digits
    """
    if name in _ON_REQUEST:
        raise ValueError(f"{name!r} has no card of its own; use {_ON_REQUEST[name]}.")
    print(_load(name).card)
    print(f'\ntlcourse.data.load("{name}")')


@app.command()
def download(name: Name) -> None:
    """Fetch a public data set; the course never does so by itself.

    TLCOURSE_DATA names the folder to keep it in.

    Example:

      tlcourse data download mnist
    """
    from tlcourse import data
    from tlcourse.doctor.contents import OFFLINE

    if name in OFFLINE:
        print(f"{name} comes with an installed package; nothing to download.")
        return
    if name in _ON_REQUEST:
        raise ValueError(f"{name!r} is not one data set; use {_ON_REQUEST[name]}.")
    print(data.load(name, download=True).card)


@app.command()
def pretrain(
    model: Annotated[str, typer.Argument(help="glyphnet")],
) -> None:
    """Rebuild the weights of the course's own network and print where they are.

    Example:

      tlcourse data pretrain glyphnet
    """
    if model != "glyphnet":
        raise ValueError(f"{model!r} cannot be pretrained here; there is 'glyphnet'.")
    from tlcourse.models.glyphnet_pretraining import pretrain as run

    print(f"wrote {run()}")
