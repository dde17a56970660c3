"""`witness`: arguments become a call, an error becomes one line and a non-zero exit; nothing else lives here."""

from __future__ import annotations

import sys

import typer

from proto.errors import ThirdsiteError
from witness.pki.cli import app as pki_app

EXIT_REFUSED = 2
"""The request or a file was refused; nothing was changed."""

app = typer.Typer(
    name="witness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A node of the witness cluster, and the tools that belong to it.",
)
app.add_typer(pki_app, name="pki")


def main() -> None:
    try:
        app()
    except ThirdsiteError as error:
        typer.echo(f"witness: {error}", err=True)
        sys.exit(EXIT_REFUSED)


if __name__ == "__main__":
    main()
