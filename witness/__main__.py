"""`witness`: arguments become a call, an error becomes lines and a non-zero exit; nothing else lives here.

Every command imports what it needs when it runs: `witness run` must start without what the others need.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
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
        "Exit codes: 0 done, 1 given up at a question, 64 wrong usage, 70 internal fault or the disk failed (run), 78 "
        "configuration, certificate, key or data directory not usable as it is."
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
    typer.echo("note      only for a cluster that never ran: if all its witnesses are lost, `witness restore` instead")


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


@app.command(
    "readmit",
    epilog=(
        "Exit codes: 0 done, 1 given up at the question, 64 wrong usage or --yes names another witness, 78 refused: "
        "the reason and the remedy are printed, and nothing was changed unless it says so."
    ),
)
def readmit(
    config: Config,
    yes: Annotated[str | None, typer.Option("--yes", help="The witness's id, for scripts: do not ask.")] = None,
) -> None:
    """Let a witness vote again whose disk is blank, damaged, rolled back or copied. Its old data is put aside."""
    from witness.readmit import readmit_witness  # noqa: PLC0415 - see above

    readmit_witness(config, yes, typer.echo, _asking("--yes ID"))


@app.command(
    "backup",
    epilog=(
        "Exit codes: 0 done, or the file of --verify can be restored from; 64 wrong usage, or a path that cannot be "
        "read or written; 78 refused: the reason and the remedy are printed, and no file was made."
    ),
)
def backup(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The witness's YAML file.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; nothing is overwritten.")] = None,
    verify: Annotated[Path | None, typer.Option("--verify", help="Check this file; needs nothing else.")] = None,
) -> None:
    """Back up the cluster's state and ledger from this witness, running or stopped, or check a backup."""
    from witness.backup import command  # noqa: PLC0415 - see above

    if verify is not None:
        command.check_file(verify, typer.echo)
    elif config is None or out is None:
        lacking = "--config" if config is None else "--out"
        raise BadValue(lacking, "", "-c FILE and --out FILE are both needed", "or check a backup: --verify FILE")
    else:
        command.back_up(config, out, typer.echo)


@app.command(
    "restore",
    epilog=(
        "Exit codes: 0 done, 1 given up at the question, 64 wrong usage, 78 refused: the reason and the remedy are "
        "printed, and nothing was changed unless it says so."
    ),
)
def restore(
    config: Config,
    source: Annotated[Path | None, typer.Option("--from", help="A file of `witness backup`; the newest.")] = None,
    lineage: Annotated[str, typer.Option("--lineage", help="On every machine but the first: what that printed.")] = "",
    longest_ttl: Annotated[
        str, typer.Option("--longest-ttl", help="No group's ttl was longer since the backup was taken.")
    ] = "10m",
    longest_lock_delay: Annotated[
        str, typer.Option("--longest-lock-delay", help="No group's lock_delay was longer since then.")
    ] = "10m",
    confirm: Annotated[str | None, typer.Option("--confirm", help="The phrase that is asked for, for scripts.")] = None,
    without_backup: Annotated[
        bool, typer.Option("--without-backup", help="All backups are lost too: the same cluster, empty.")
    ] = False,
) -> None:
    """After the loss of ALL witnesses: make this one anew from a backup. A lost minority is readmitted instead."""
    from witness.backup import command  # noqa: PLC0415 - see above

    wish = command.wish_of(
        source,
        without=without_backup,
        lineage=lineage,
        longest_ttl=longest_ttl,
        longest_lock_delay=longest_lock_delay,
    )
    command.restore_witness(config, wish, confirm, typer.echo, _asking('--confirm "PHRASE"'))


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


def _asking(option: str) -> Callable[[str], str]:
    """Asks at the terminal; whoever gives up, or has none, reads that nothing was changed and how scripts do it."""

    def ask(question: str) -> str:
        try:
            return str(typer.prompt(question))
        except typer.Abort:
            typer.echo(f"\nwitness: no answer: nothing was changed; without a terminal use {option}", err=True)
            raise

    return ask


def main() -> None:
    try:
        app()
    except ThirdsiteError as error:
        typer.echo(f"witness: {error}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, BadValue) and error.usage else EXIT_CONFIG)
    except PermissionError as error:
        remedy = "run the command as the user that the witness runs as, or as root"
        typer.echo(f"witness: {error.filename}: this user has no right to it ({error.strerror}); {remedy}", err=True)
        sys.exit(EXIT_CONFIG)
    except SystemExit as leaving:
        sys.exit(EXIT_USAGE if leaving.code == _CLICK_USAGE else leaving.code)


if __name__ == "__main__":
    main()
