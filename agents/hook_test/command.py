"""`site-agent hook-test`: options to cases to words; the exit code says what was found.

Loaded with every command of site-agent, so it imports what it needs when it runs.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.hook_test.judge import Finding
    from agents.hook_test.stage import Subject

EXIT_PROBLEM = 1
EXIT_FIRST_RUN = 65
EXIT_NO_SCRIPT = 66
EXIT_UNAVAILABLE = 69
PIPE_COLUMNS = 10_000
KILLS_MAX = 50
TIMEOUT_S_MAX = 3_600.0

HELP = """Try a step's script: run it again, twice at once, and killed.

SCRIPT is run as an activation step, to find out what happens when it is run again.

It is run in a guard with the environment of a step: once, again at once, twice at the same time, killed at several
moments and run again, cut by a timeout and run again, and as a dry run (THIRDSITE_DRY_RUN=1, which only this command
sets). Every further run must end as the first one did.

SCRIPT REALLY RUNS, many times: use a test system. --state tells what it changed; without it only exit codes, files
in TMPDIR and processes are compared. --reset brings back the beginning before each case.

\b
    site-agent hook-test --state 'ip -o addr show dev eth1' --reset 'ip addr flush dev eth1' -- ./add-vip 192.0.2.10

Exit codes: 0 nothing found, 1 a problem was found, 64 wrong usage, 65 the very first run failed, 66 there is no such
program, 69 no guard can be had here, 78 --state or --reset failed."""


def run(
    script: Annotated[list[str], typer.Argument(metavar="SCRIPT [ARGUMENTS]...", help="The step's command.")],
    state: Annotated[str, typer.Option("--state", help="A shell command that prints what SCRIPT changes.")] = "",
    reset: Annotated[str, typer.Option("--reset", help="A shell command that brings back the beginning.")] = "",
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds for one run.", min=0.01, max=TIMEOUT_S_MAX)
    ] = 30.0,
    kills: Annotated[int, typer.Option("--kills", help="At how many moments it is killed.", min=0, max=KILLS_MAX)] = 5,
    no_dry_run: Annotated[bool, typer.Option("--no-dry-run", help="SCRIPT knows no THIRDSITE_DRY_RUN.")] = False,
    group: Annotated[str, typer.Option("--group", help="THIRDSITE_GROUP.")] = "hook-test",
    site: Annotated[str, typer.Option("--site", help="THIRDSITE_SITE.")] = "dc-a",
    epoch: Annotated[int, typer.Option("--epoch", help="THIRDSITE_EPOCH.", min=1)] = 1,
    cause: Annotated[str, typer.Option("--cause", help="THIRDSITE_CAUSE.")] = "takeover",
    variables: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE, as in the step's env.")] = None,
    directory: Annotated[Path, typer.Option("--directory", help="Where it runs.", exists=True)] = Path("/"),
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    from agents.hook_test.judge import Verdict, worst  # noqa: PLC0415 - see above
    from agents.hook_test.stage import Subject  # noqa: PLC0415 - see above
    from agents.settings import StepSpec  # noqa: PLC0415 - see above
    from proto.units import Epoch, GroupId, SiteId  # noqa: PLC0415 - see above

    spec = StepSpec(
        name="test",
        argv=(_program(script[0]), *script[1:]),
        timeout_ms=max(10, round(timeout_s * 1_000)),
        env=_environment(variables or []),
        directory=str(directory.resolve()),
    )
    subject = Subject(spec, GroupId(group), SiteId(site), Epoch(epoch), cause, state, reset)
    findings = _found(subject, kills=kills, dry=not no_dry_run)
    _show(script, findings, as_json=as_json)
    if any(one.case == "first run" and one.verdict is Verdict.PROBLEM for one in findings):
        raise typer.Exit(EXIT_FIRST_RUN)
    if worst(findings) is Verdict.PROBLEM:
        raise typer.Exit(EXIT_PROBLEM)


def _found(subject: Subject, *, kills: int, dry: bool) -> list[Finding]:
    from agents.fencing.base import GuardError  # noqa: PLC0415 - see above
    from agents.hook_test.cases import hook_test  # noqa: PLC0415 - see above

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            typer.echo(f"... {text}", err=True)

    try:
        return asyncio.run(hook_test(subject, kills=kills, dry=dry, progress=progress))
    except GuardError as error:
        typer.echo(f"site-agent hook-test: {error}", err=True)
        raise typer.Exit(EXIT_UNAVAILABLE) from None


def _show(script: Sequence[str], findings: Sequence[Finding], *, as_json: bool) -> None:
    from agents.hook_test.show import as_dict, table  # noqa: PLC0415 - see above

    if as_json:
        typer.echo(json.dumps(as_dict(script, findings), indent=2))
        return
    from rich.console import Console  # noqa: PLC0415 - see above

    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table(findings))


def _program(name: str) -> str:
    """As a path: a step runs in its own directory."""
    found = shutil.which(name)
    if found is None:
        typer.echo(f"site-agent hook-test: {name}: no such program, or it may not be executed (chmod +x?)", err=True)
        raise typer.Exit(EXIT_NO_SCRIPT)
    return str(Path(found).absolute())


def _environment(variables: list[str]) -> dict[str, str]:
    for one in variables:
        name, equals, _ = one.partition("=")
        if not equals or not name or name.startswith("THIRDSITE_"):
            rule = "write NAME=VALUE; THIRDSITE_ names are set by the agent (--group, --site, --epoch, --cause)"
            raise typer.BadParameter(rule, param_hint=f"--env {one}")
    return dict(one.split("=", 1) for one in variables)
