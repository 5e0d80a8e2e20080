"""The command line of data sets: `gbn data check | fetch | prepare | describe`."""

from typing import Annotated

import typer

from gbnlib.terminal import say, show

app = typer.Typer(no_args_is_help=True, help="See which data sets are available, and get missing ones.")


@app.command()
def check() -> None:
    """List the data sets: which are available, where they are looked for, and which scales need them."""
    from gbnlib.report.listing import data_text

    typer.echo(data_text())


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A name that `gbn data check` lists.")]) -> None:
    """Download a data set into the data root (GBN_DATA, by default data/) and check it."""
    from gbnlib import data

    data.fetch(name)
    typer.echo(f"{data.card(name).label}: {data.check(name)}")


@app.command()
def prepare(name: Annotated[str, typer.Argument(help="A data set that is decoded while training.")]) -> None:
    """Decode a large data set once, to a cache in the data root that training then reads; says first how large it gets.

    Stop with Ctrl-C at any time: the same command goes on from there. Once more, it compares checksums.
    """
    from gbnlib.data import prepare as decoding

    decoding.prepare(name, say=say, show=show)


@app.command()
def describe(
    name: Annotated[
        str, typer.Argument(help="A folder in the data root, with parquet files or folders train and val.")
    ],
) -> None:
    """Print a card for your own images, to paste into catalog.toml in the data root."""
    from gbnlib import data

    typer.echo(data.describe(name))
