"""`witnessctl notify`: what is open, who is told, whether a target can be reached, and who looks after it."""

from __future__ import annotations

from typing import Annotated

import typer

from witness.ctl.options import NO_BUDGET, Budget, Config, Json, Reason, client_of, require_reason

app = typer.Typer(no_args_is_help=True, help="Open alarms, and whether people are told of them.")


@app.command("list")
def list_(as_json: Json = False, config: Config = None, budget: Budget = NO_BUDGET) -> None:
    """Show open alarms, and how far each target has been told.

    Example: witnessctl notify list
    """
    from witness.ctl.notifying import show_notify  # noqa: PLC0415 - rich is loaded only when a command runs

    show_notify(client_of(config, budget), as_json=as_json)


@app.command()
def ack(
    reason: Reason,
    alarms: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="As `list` shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every alarm that is open.")] = False,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Say that you look after alarms: the reminders stop, everybody sees who it is.

    Example: witnessctl notify ack 412 --reason "on my way to dc-a"
    """
    from witness.ctl.notifying import acknowledge  # noqa: PLC0415 - see list

    require_reason(reason)
    acknowledge(client_of(config, budget), alarms or [], reason, every=every, as_json=as_json)


@app.command("test")
def try_out(
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="Without it: every target.")] = None,
    leader: Annotated[bool, typer.Option("--leader", help="Only from the witness that leads now.")] = False,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Send a test notification, from every witness: each of them may lead tomorrow.

    Exit code 1 when one of them cannot reach a target.

    Example: witnessctl notify test on-call
    """
    from witness.ctl.notifying import try_targets  # noqa: PLC0415 - see list

    try_targets(client_of(config, budget), target or "", leader=leader, as_json=as_json)
