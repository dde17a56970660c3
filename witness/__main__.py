"""`witness`: arguments become a call, an error becomes lines and a non-zero exit; nothing else lives here.

Every command imports what it needs when it runs: `witness run` must start without what the others need.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from proto.errors import BadValue, ThirdsiteError
from witness.pki.cli import app as pki_app

EXIT_USAGE = 64
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits(3): configuration, certificate, key or data directory cannot be used as they are."""
_CLICK_USAGE = 2

app = typer.Typer(
    name="witness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A node of the witness cluster, and the tools that belong to it.",
    epilog=(
        "Exit codes: 0 done, 64 wrong usage, 70 internal fault or the disk failed (run), 78 configuration, "
        "certificate, key or data directory not usable as it is."
    ),
)
app.add_typer(pki_app, name="pki")

Config = Annotated[Path, typer.Option("--config", "-c", help="The witness's YAML file.")]


@app.command("init")
def init(config: Config) -> None:
    """Create the data directory of a new witness, once. It is never overwritten."""
    from witness.config import load_witness_config  # noqa: PLC0415 - see above
    from witness.raft.store import create_store  # noqa: PLC0415 - see above

    settings = load_witness_config(config)
    create_store(settings.data_dir, settings.cluster, settings.witness)
    typer.echo(f"created   {settings.data_dir}   of witness {settings.witness}, cluster {settings.cluster}")
    typer.echo(f"next      witness run -c {config}")


@app.command("run")
def run(config: Config) -> None:
    """Run a witness in the foreground. SIGTERM stops it in order, SIGHUP reads its certificates again."""
    from witness.runtime.launch import launch  # noqa: PLC0415 - see above

    launch(config)


@app.command("check")
def check(config: Config) -> None:
    """Check a configuration file, its certificate and its data directory; start nothing."""
    from witness.runtime.check import check_witness  # noqa: PLC0415 - see above

    for line in check_witness(config):
        typer.echo(line)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and other tools."""
    from witness.config import witness_schema  # noqa: PLC0415 - see above

    typer.echo(json.dumps(witness_schema(), indent=2))


@app.command("demo")
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="The last line of stdout is one JSON object.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C; print addresses.")] = False,
    ttl: Annotated[str, typer.Option("--ttl", help="The lease, in seconds or with a unit: 3, 2500ms.")] = "3s",
) -> None:
    """Three witnesses and two sites on loopback: kills, a handover and a freeze, judged by the license server."""
    from witness.demo.command import run_demo  # noqa: PLC0415 - see above

    raise typer.Exit(run_demo(as_json=as_json, keep=keep, ttl=ttl))


def main() -> None:
    try:
        app()
    except ThirdsiteError as error:
        typer.echo(f"witness: {error}", err=True)
        option = isinstance(error, BadValue) and error.field.startswith("--")
        sys.exit(EXIT_USAGE if option else EXIT_CONFIG)
    except SystemExit as leaving:
        sys.exit(EXIT_USAGE if leaving.code == _CLICK_USAGE else leaving.code)


if __name__ == "__main__":
    main()
