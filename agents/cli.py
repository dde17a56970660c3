"""The commands of `site-agent`. Each imports what it needs when it runs."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from agents.hook_test import command as hook_test
from agents.license import command as license_command
from agents.ports import command as ports
from proto.errors import BadValue, LocalFault, ThirdsiteError

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_TEMPFAIL = 75
EXIT_CONFIG = 78

app = typer.Typer(
    name="site-agent",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The agent of one site: runs the platform while the witnesses grant it the lease, and never longer.",
    epilog=(
        "Exit codes: 0 done (doctor: 1 warnings, 2 a promise would break; ports silent: 1 some are), 64 wrong usage, "
        "69 no agent answers (status, break-glass, exec) or what it needs is not to be had now (run), "
        "70 internal fault, 75 the lease was lost (exec), the stop was cut short (run) or it was not done in time "
        "(upgrade), 78 the configuration or the state is not usable as it is; exec and hook-test have more: see there."
    ),
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's YAML file.")]
PIPE_COLUMNS = 10_000
"""A pipe has no width: nothing is folded for it."""
DEFAULT_SOCKET = Path("/run/thirdsite/status.sock")


@app.command("run")
def run(config: Config) -> None:
    """Run the agent in the foreground.

    SIGTERM deactivates and releases in order, SIGHUP reads the certificates again, SIGUSR2 upgrades without a stop
    (see `site-agent upgrade`).
    """
    from agents.runtime.launch import launch  # noqa: PLC0415 - see above

    launch(config)


@app.command("member")
def member(
    config: Annotated[Path, typer.Option("--config", "-c", help="The member's YAML file.")],
    check_only: Annotated[bool, typer.Option("--check", help="Check file and certificate; start nothing.")] = False,
) -> None:
    """Run this host as a further member of a site.

    In the foreground. It obeys the site's agent (`members` there). SIGTERM ends what runs here first, SIGHUP reads the
    certificates again, SIGUSR2 upgrades without a stop.
    """
    if check_only:
        from agents.runtime.check import check_member  # noqa: PLC0415 - see above

        for line in check_member(config):
            typer.echo(line)
        return
    from agents.runtime.launch import launch_member  # noqa: PLC0415 - see above

    launch_member(config)


@app.command("status")
def status(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take the socket from this file.")] = None,
    socket: Annotated[Path, typer.Option("--socket", help="The agent's status socket.")] = DEFAULT_SOCKET,
    as_json: Annotated[bool, typer.Option("--json", help="The whole state as JSON.")] = False,
) -> None:
    """Show what the agent of this host holds and sees."""
    from agents.local.client import agent_status  # noqa: PLC0415 - see above

    if config is not None:
        socket = _status_socket(config)
    view = agent_status(socket)
    if as_json:
        typer.echo(json.dumps(view, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415 - see above

    from agents.local.status_text import status_view  # noqa: PLC0415 - see above

    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(status_view(view))


def _status_socket(config: Path) -> Path:
    """Of an agent's file, or of a member's. Raises ConfigRefused."""
    from agents.config_any import load_any_config  # noqa: PLC0415 - see above

    return load_any_config(config).status_socket


@app.command("upgrade")
def upgrade(
    config: Config,
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds until it must be done.", min=1)] = 180.0,
) -> None:
    """Move the running agent to the installed version.

    The agent, or the member, of this host becomes the version that is installed now; the platform runs on, unless it
    has to start cold: its log says why then. The new version checks the configuration first; what it refuses changes
    nothing. Exit codes: 0 done, 69 no agent answers, 75 neither done nor refused in time, 78 refused.
    """
    from agents.local.upgrade import UpgradeTimedOut, upgrade_agent  # noqa: PLC0415 - see above

    try:
        typer.echo(asyncio.run(upgrade_agent(_status_socket(config), wait_s)))
    except UpgradeTimedOut as error:
        typer.echo(f"site-agent: {error}", err=True)
        raise typer.Exit(EXIT_TEMPFAIL) from None


@app.command("break-glass")
def break_glass(
    group: Annotated[str, typer.Argument(metavar="GROUP")],
    permit: Annotated[Path | None, typer.Argument(metavar="[PERMIT]", help="The permit's file.")] = None,
    end: Annotated[bool, typer.Option("--end", help="Stop what runs here under a permit, in order.")] = False,
    confirm: Annotated[str | None, typer.Option("--confirm", help="The phrase that is asked for, for scripts.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take the socket from this file.")] = None,
    socket: Annotated[Path, typer.Option("--socket", help="The agent's status socket.")] = DEFAULT_SOCKET,
) -> None:
    """Make this site active without witnesses, by a signed permit.

    The permit was signed offline. For the day on which all witnesses are lost for good: docs/operating/break-glass.md
    is the checklist. It says what the permit means and asks for a phrase, because that every other site is stopped
    rests on you.

    Exit codes: 0 taken (or ending), 1 given up at the question, 64 wrong usage, 69 no agent answers, 78 refused: the
    reason is printed, and nothing was changed.

    Example: site-agent break-glass shop shop-dc-b.permit
    """
    from agents.local.break_glass import end_permit, use_permit  # noqa: PLC0415 - see above

    if (permit is None) is not end:
        typer.echo("site-agent: name the permit's file, or --end; not both", err=True)
        raise typer.Exit(EXIT_USAGE)
    if config is not None:
        socket = _status_socket(config)
    if permit is None:
        end_permit(socket, group, typer.echo)
    else:
        use_permit(socket, group, permit, confirm, typer.echo, _ask_phrase)


def _ask_phrase(question: str) -> str:
    try:
        return str(typer.prompt(question))
    except typer.Abort:
        typer.echo('\nsite-agent: no answer: nothing was changed; without a terminal use --confirm "PHRASE"', err=True)
        raise typer.Exit(1) from None


@app.command("check")
def check(config: Config) -> None:
    """Check configuration and certificate; start nothing."""
    from agents.runtime.check import check_agent  # noqa: PLC0415 - see above

    for line in check_agent(config):
        typer.echo(line)


@app.command("schema")
def schema(of_member: Annotated[bool, typer.Option("--member", help="Of a member's file.")] = False) -> None:
    """Print the configuration file's JSON Schema."""
    from agents.config import agent_schema  # noqa: PLC0415 - see above
    from agents.config_member import member_schema  # noqa: PLC0415 - see above

    typer.echo(json.dumps(member_schema() if of_member else agent_schema(), indent=2))


@app.command("wrap")
def wrap(
    units: Annotated[list[str], typer.Argument(metavar="UNIT...", help="Services, for example api-server.service.")],
    group: Annotated[str, typer.Option("--group", "-g", help="The group whose lease they need.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Write the drop-ins; without it they are only shown.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Remove the drop-ins again.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take the socket and the groups from this file.")
    ] = None,
    root: Annotated[Path, typer.Option("--root", help="Read and write below this directory, e.g. an image.")] = Path(
        "/"
    ),
) -> None:
    """Bring systemd services under the lease, by a drop-in.

    It puts `site-agent exec` before their commands. Shows what it would write; --write writes it. Refused, with the
    remedy, for a unit that a boot, a timer, a socket, a message or another unit would start, and for settings that a
    guard cannot live with. systemd is never called: what you have to do afterwards is printed.
    """
    from agents.units import command  # noqa: PLC0415 - see above

    for line in command.run(units, command.Request(group=group, write=write, undo=undo, config=config, root=root)):
        typer.echo(line)


@app.command("doctor")
def doctor(
    config: Config,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
    root: Annotated[Path, typer.Option("--root", help="Read the host's files below this directory.")] = Path("/"),
) -> None:
    """Find what on this host would break the promise.

    It changes nothing, and takes a member's file, too.

    What starts the platform without the lease: units, timers, cron, containers.

    What runs in the active role right now though the site is dormant.

    What a guard gets: namespaces, priority, memory, timers, watchdog, clocks.

    The agent's files, room, certificate; its way to each witness.

    Run it as root, before the first activation and after every change of the host.

    Exit codes: 0 nothing but notes, 1 warnings (the promise holds, but weaker), 2 a promise would break.
    """
    from agents.doctor.command import examine  # noqa: PLC0415 - see above
    from agents.doctor.finding import worst  # noqa: PLC0415 - see above
    from proto.edge.logs import no_logging  # noqa: PLC0415 - see above

    no_logging()
    findings = examine(config, root.absolute())
    if as_json:
        typer.echo(json.dumps({"findings": [one.as_json() for one in findings]}, indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415 - see above

        from agents.doctor.show import findings_view  # noqa: PLC0415 - see above

        Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(findings_view(findings))
    raise Verdict(worst(findings))


class Verdict(SystemExit):
    """An exit code that is an answer; typer's own 2 means wrong usage."""


app.add_typer(license_command.app, name="license")
app.command("hook-test", help=hook_test.HELP, context_settings={"allow_interspersed_args": False})(hook_test.run)


app.add_typer(ports.app, name="ports")


@app.command("exec", add_help_option=False, context_settings={"ignore_unknown_options": True})
def execute(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="--group G -- COMMAND...")] = None,
) -> None:
    """Run a program only while the lease is held.

    `site-agent exec` without arguments says how; __main__ hands the real call over before this file is loaded.
    """
    from agents.fencing.exec_entry import become_exec_guard  # noqa: PLC0415 - see above

    become_exec_guard(arguments or [])


def main() -> int:
    """The exit code. Usage errors of typer (2) become 64."""
    from agents.local.client import AgentUnreachable  # noqa: PLC0415 - small, and only needed for its name

    try:
        app()
    except AgentUnreachable as error:
        typer.echo(f"site-agent: {error}", err=True)
        return EXIT_UNAVAILABLE
    except (LocalFault, ThirdsiteError) as error:
        typer.echo(f"site-agent: {error}", err=True)
        return EXIT_USAGE if isinstance(error, BadValue) and error.usage else EXIT_CONFIG
    except Verdict as verdict:
        return int(verdict.code or 0)
    except SystemExit as leaving:
        return EXIT_USAGE if leaving.code == 2 else int(leaving.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
