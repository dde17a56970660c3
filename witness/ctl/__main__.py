"""`witnessctl`: arguments become one call, an end becomes an exit code (witness/ctl/errors.py); nothing else."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from proto.commands import QuarantineCause
from proto.errors import BadValue, LocalFault
from proto.groups import Mode
from witness.ctl.client import group_path
from witness.ctl.errors import CONFIG, DONE, USAGE, CtlEnd
from witness.ctl.license_cli import license_app
from witness.ctl.notify_cli import app as notify_app
from witness.ctl.options import NO_BUDGET, Budget, Config, GroupName, Json, Reason, SiteName, client_of, require_reason
from witness.ctl.render import errors

CLICK_USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    name="witnessctl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Look at a witness cluster and move its groups.

The cluster is named by --config FILE, by THIRDSITE_CTL, or by ~/.config/thirdsite/ctl.yaml:

  witnesses:
    - w1.example.net:7410
    - w2.example.net:7410
    - w3.example.net:7410
  ca: ca.pem        (from `witness pki issue operator NAME --role operator`)
  cert: cert.pem
  key: key.pem

Exit codes: 0 done, 1 refused, 2 no witness or no majority, 3 not finished in
time, 4 timing worse than assumed, 64 usage, 78 configuration.""",
)
_CAUSES = ", ".join(cause.value for cause in QuarantineCause)
quarantine_app = typer.Typer(no_args_is_help=True, help="Keep a site from being activated until it is proven safe.")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(notify_app, name="notify")
app.add_typer(license_app, name="license")


class Switch(Enum):
    ON = "on"
    OFF = "off"


@app.command()
def status(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Show every witness and all groups, or one group with its sites and what stands against each.

    Example: witnessctl status shop --watch
    """
    from witness.ctl.looking import show_status  # noqa: PLC0415 - rich's live part is seldom needed

    show_status(client_of(config, budget), group, watch=watch, as_json=as_json)


@app.command()
def groups(as_json: Json = False, config: Config = None, budget: Budget = NO_BUDGET) -> None:
    """List the groups with their lease, holder and sites."""
    from witness.ctl.looking import show_groups  # noqa: PLC0415 - see status

    show_groups(client_of(config, budget), as_json=as_json)


@app.command()
def events(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    after: Annotated[int | None, typer.Option("--after", help="Those above this number.", min=0)] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many at first.", min=1, max=1_000)] = 50,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Show the ledger: what was decided, by whom and why.

    Example: witnessctl events shop --follow
    """
    from witness.ctl.looking import show_events  # noqa: PLC0415 - see status

    show_events(client_of(config, budget), after=after, limit=limit, group=group, follow=follow, as_json=as_json)


@app.command("would-have")
def would_have(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]")] = None,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Show what automatic mode would have done in groups of other modes: how often, when, why, where to.

    Example: witnessctl would-have shop
    """
    from witness.ctl.looking import show_would_have  # noqa: PLC0415 - see status

    show_would_have(client_of(config, budget), group, as_json=as_json)


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML with `groups:`.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")] = False,
    reason: Reason = "",
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Create or change groups so that they are as the file says. Groups that it does not name stay as they are.

    Example: witnessctl apply -f groups.yaml --dry-run
    """
    from witness.ctl import changing  # noqa: PLC0415 - see status

    changing.apply(client_of(config, budget), file, reason, dry_run=dry_run, as_json=as_json)


@app.command()
def delete(
    group: GroupName, reason: Reason, as_json: Json = False, config: Config = None, budget: Budget = NO_BUDGET
) -> None:
    """Delete a group whose lease nobody holds. Its epoch is kept, so that a new one starts above it.

    Example: witnessctl delete shop --reason "moved to another cluster"
    """
    from witness.ctl import changing  # noqa: PLC0415 - see status

    changing.delete(client_of(config, budget), group, reason, as_json=as_json)


@app.command()
def switchover(
    group: GroupName,
    to: Annotated[str, typer.Option("--to", metavar="SITE", help="Where it shall be active.")],
    reason: Reason,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for promises that stand in the way; follow it until active.")
    ] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to follow it.", min=1, max=86_400)] = 300,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Move a group to another site, in order: the active one stops first, verified, then the other starts.

    Refused when something stands against the site; the answer says what. A
    promise that the site gave, or may have given before its agent was started
    anew, ends by itself: it is waited for, or with --no-wait refused with how
    long. Exit code 3: it goes on, but was not finished within --timeout.

    Example: witnessctl switchover shop --to dc-b --reason "maintenance of dc-a"
    """
    from witness.ctl import changing  # noqa: PLC0415 - see status

    client = client_of(config, budget)
    changing.switchover(client, group, to, reason, wait=wait, timeout_s=timeout, as_json=as_json)


@app.command()
def mode(
    group: GroupName,
    mode: Annotated[Mode, typer.Argument(metavar="|".join(one.value for one in Mode))],
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Say who may move a group.

    automatic: the cluster does; manual: only operators; paused: nobody; observe:
    it only tells what it would do. A handover that the cluster began is not
    brought to its end in manual: this command and status say so.

    Example: witnessctl mode shop manual --reason "release night"
    """
    from witness.ctl import changing  # noqa: PLC0415 - see status

    require_reason(reason)
    changing.set_mode(client_of(config, budget), group, mode, reason, as_json=as_json)


@app.command()
def maintenance(
    group: GroupName,
    site: SiteName,
    switch: Annotated[Switch, typer.Argument(metavar="on|off")],
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Keep a site from being activated while people work on it; an active site stays active.

    Example: witnessctl maintenance shop dc-b on --reason "new switches"
    """
    body = {"site": site, "on": switch is Switch.ON, "reason": reason}
    done = f"{group}: maintenance of {site} is {switch.value}"
    _change(group, "/maintenance", body, done, as_json, config, budget)


@quarantine_app.command("set")
def quarantine_set(
    group: GroupName,
    site: SiteName,
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Bar a site.

    Example: witnessctl quarantine set shop dc-b --reason "disk errors"
    """
    body = {"site": site, "on": True, "reason": reason}
    _change(group, "/quarantine", body, f"{group}: {site} is in quarantine", as_json, config, budget)


@quarantine_app.command("clear")
def quarantine_clear(
    group: GroupName,
    site: SiteName,
    reason: Reason,
    cause: Annotated[list[str] | None, typer.Option("--cause", help=f"Only this one; repeatable: {_CAUSES}.")] = None,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Vouch that a site is safe. Without --cause every quarantine of the site is lifted.

    Example: witnessctl quarantine clear shop dc-b --cause store-changed --reason "data compared"
    """
    body = {"site": site, "on": False, "causes": list(cause or ()), "reason": reason}
    _change(group, "/quarantine", body, f"{group}: the quarantine of {site} is cleared", as_json, config, budget)


@app.command()
def reconcile(
    group: GroupName,
    reason: Reason,
    confirm: Annotated[str | None, typer.Option("--confirm", help="The phrase that is asked for, for scripts.")] = None,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Vouch that no break-glass permit is in use at any site of the group that is away.

    Only for groups with break_glass. Look there first: power off, or the platform
    seen stopped; and destroy every permit that was made and not used. A site that
    is active under a permit all the same, or that uses one tomorrow, and a site
    that is started after this are two that run at once. When somebody is
    away, a phrase is asked for.

    Example: witnessctl reconcile shop --reason "dc-a burnt down, power is cut"
    """
    from witness.ctl import reconciling  # noqa: PLC0415 - see status

    require_reason(reason)
    reconciling.reconcile(client_of(config, budget), group, reason, confirm, as_json=as_json)


@app.command()
def timing(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]")] = None,
    wish: Annotated[str | None, typer.Option("--wish", help="For example 'takeover=10s silence=2s watchdog'.")] = None,
    takeover: Annotated[str | None, typer.Option("--takeover-within", help="The other site is active by then.")] = None,
    silence: Annotated[str | None, typer.Option("--tolerate-silence", help="Of all witnesses; stops nobody.")] = None,
    activation: Annotated[
        str | None, typer.Option("--activation", help="The longest that a site's start takes.")
    ] = None,
    measured: Annotated[
        str | None, typer.Option("--measured", help="assumed, live (with a GROUP), or a FILE that --json wrote.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Work every timer out from one wish, or check a group's: each inequality with its numbers, the takeover by phase.

    With --measured live the witnesses say how long things really take, how likely
    a takeover from a healthy site is, and where reality has drifted from what was
    assumed (exit code 4).

    Example: witnessctl timing --wish "takeover=10s silence=2s activation=3s"
    """
    from witness.ctl.timing import show_timing, wish_of  # noqa: PLC0415 - see status

    wanted = wish_of(wish, takeover, silence, activation)
    show_timing(lambda: client_of(config, budget), group, wanted, measured, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of groups.yaml."""
    import json  # noqa: PLC0415 - see status

    from witness.ctl.group_file import groups_schema  # noqa: PLC0415 - see status

    typer.echo(json.dumps(groups_schema(), indent=2))


def _change(
    group: str, rest: str, body: dict[str, object], done: str, as_json: bool, config: Path | None, budget: float
) -> None:
    from witness.ctl import changing  # noqa: PLC0415 - see status

    require_reason(str(body["reason"]))
    changing.change(client_of(config, budget), group_path(group, rest), body, done, as_json=as_json)


def run() -> int:
    """The exit code of errors.py; click's own code for wrong usage (2) becomes 64."""
    try:
        app()
    except CtlEnd as end:
        errors.print(f"witnessctl: {end}", style="red", markup=False)
        return end.code
    except (LocalFault, BadValue) as error:
        errors.print(f"witnessctl: {error}", style="red", markup=False)
        return CONFIG
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else DONE
        return USAGE if code == CLICK_USAGE else code
    return DONE


def main() -> None:
    sys.exit(run())


if __name__ == "__main__":
    main()
