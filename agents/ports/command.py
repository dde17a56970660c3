"""`site-agent ports`: who talks to a group's service ports, and which fell silent after a move.

Loaded with every command of site-agent, so it imports what it needs when it runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proto.errors import BadValue

if TYPE_CHECKING:
    from agents.ports.tally import Fallen
    from agents.settings import PortSpec

WINDOW_S = 900
WINDOW_S_MAX = 7 * 86_400
BEFORE_BYTES_MAX = 4 * 1024 * 1024
EXIT_FALLEN = 1

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "See which service ports fell silent after a move.\n\n"
        "Counts who talks to a group's service ports (`resources.ports`).\n\n"
        "On both sites, for example as an activation step: site-agent ports watch -c FILE.\n\n"
        "On the active site, every few minutes: site-agent ports show -c FILE --json, kept where the other site has "
        "it.\n\nAfter a move, on the new active site: site-agent ports silent -c FILE BEFORE."
    ),
)
Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's, or a member's, YAML file.")]
Group = Annotated[str, typer.Option("--group", "-g", help="Of several in the file.")]


@app.command("watch")
def watch_command(
    config: Config,
    group: Group = "",
    window_s: Annotated[
        int, typer.Option("--window", min=10, max=WINDOW_S_MAX, help="Seconds for which a source counts.")
    ] = WINDOW_S,
    end: Annotated[bool, typer.Option("--end", help="Watch no longer.")] = False,
) -> None:
    """Have the kernel keep who talks to each port.

    What it knew before is forgotten. A reboot ends it.
    """
    from agents.ports.watch_table import unwatch, watch  # noqa: PLC0415 - see above

    name, ports = _ports_of(config, group)
    if end:
        unwatch(name)
        typer.echo(f"the ports of {name} are no longer watched")
        return
    watch(name, ports, window_s)
    typer.echo(f"{len(ports)} ports of {name} are watched: a source counts for {window_s} s")


@app.command("show")
def show(
    config: Config,
    group: Group = "",
    as_json: Annotated[bool, typer.Option("--json", help="To be kept for `silent`, on the other site.")] = False,
) -> None:
    """Show from how many addresses each port was talked to.

    Within the window that `watch` was told.
    """
    from agents.ports.tally import tally, to_json  # noqa: PLC0415 - see above
    from agents.ports.watch_table import seen  # noqa: PLC0415 - see above

    name, ports = _ports_of(config, group)
    counts = tally(seen(name), ports)
    if as_json:
        typer.echo(json.dumps(to_json(name, counts)))
        return
    for port, count in counts.items():
        if count:
            typer.echo(f"{port!s:>10}  {count}")
    silent = sum(1 for count in counts.values() if not count)
    typer.echo(f"{silent} of {len(counts)} ports have no source")


@app.command("silent")
def silent(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="Of `show --json` before the move; - for stdin.")],
    config: Config,
    group: Group = "",
    share: Annotated[
        float, typer.Option("--share", min=0.0, max=1.0, help="Also ports with less than this part of their sources.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Tell which ports did not come back after a move.

    Those with sources before it, and none, or far fewer, now. Wait for one window after the move: who reports once an
    hour is silent until then. Exit code 1 when there are any.
    """
    from agents.ports.tally import fallen, tally  # noqa: PLC0415 - see above
    from agents.ports.watch_table import seen  # noqa: PLC0415 - see above

    name, ports = _ports_of(config, group)
    lost = fallen(_before(before), tally(seen(name), ports), share)
    if as_json:
        rows = [{"port": str(one.port), "before": one.before, "now": one.now} for one in lost]
        typer.echo(json.dumps({"group": name, "fallen": rows}))
    else:
        _tell(lost)
    if lost:
        raise typer.Exit(EXIT_FALLEN)


def _tell(lost: list[Fallen]) -> None:
    for one in lost:
        typer.echo(one.words)
    if not lost:
        typer.echo("every port that had sources before has them again")


def _ports_of(config: Path, group: str) -> tuple[str, tuple[PortSpec, ...]]:
    """Raises ConfigRefused or BadValue."""
    from agents.config_any import load_any_config  # noqa: PLC0415 - see above
    from agents.doctor.host import site_of  # noqa: PLC0415 - see above
    from agents.settings import SiteSettings  # noqa: PLC0415 - see above

    found = load_any_config(config)
    settings = found if isinstance(found, SiteSettings) else site_of(found)
    ports = {str(one.group): one.resources.ports for one in settings.groups if one.resources.ports}
    if not ports:
        raise BadValue("resources.ports", str(config), "no group of this file has any", "name them there first")
    name = group or (next(iter(ports)) if len(ports) == 1 else "")
    if name not in ports:
        rule = f"is none of the groups of {config} that have resources.ports"
        raise BadValue("--group", name, rule, f"say one of: {', '.join(ports)}")
    return name, ports[name]


def _before(where: str) -> dict[PortSpec, int]:
    """Raises BadValue."""
    from agents.ports.tally import from_json  # noqa: PLC0415 - see above

    try:
        if where == "-":
            text = sys.stdin.read(BEFORE_BYTES_MAX)
        else:
            with Path(where).open(encoding="utf-8") as file:
                text = file.read(BEFORE_BYTES_MAX)
        said: Any = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadValue("BEFORE", where, f"cannot be read: {error}", "name a file of `show --json`") from error
    return from_json(said, "BEFORE")
