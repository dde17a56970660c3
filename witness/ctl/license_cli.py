"""`witnessctl license`: what is kept of a group's licenses, what their activity was, and the release of last resort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from witness.ctl.options import NO_BUDGET, Budget, Config, GroupName, Json, Reason, client_of, require_reason

license_app = typer.Typer(
    no_args_is_help=True,
    help="""Look at licenses: versions and ages of their sealed keys, never a key; who was active when, and the proof.

Exit codes of verify and export: 0 no two intervals overlap and the ledger is
as it was written; 1 they do, or an entry was changed: the first one is named.""",
)


@license_app.command()
def status(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]")] = None,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Show each license with its newest sealed key's version and age, and what every site holds.

    Example: witnessctl license status shop
    """
    from witness.ctl.licenses import show_status  # noqa: PLC0415 - rich is loaded only when a command runs

    show_status(client_of(config, budget), group, as_json=as_json)


@license_app.command()
def verify(
    group: GroupName,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="An exported file; no witness is asked.")] = None,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Prove that no two sites of a group were active at one time, from the hash-chained ledger.

    Every witness is asked for the hash of the newest entry. A file is proved by
    itself: compare the hash that is shown with the one that the witnesses tell,
    or that was noted when it was exported.

    Example: witnessctl license verify shop --file evidence.json
    """
    from witness.ctl import licenses  # noqa: PLC0415 - see status

    if file is None:
        licenses.verify(client_of(config, budget), group, as_json=as_json)
    else:
        licenses.verify_file(file, group, as_json=as_json)


@license_app.command()
def export(
    group: GroupName,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the evidence goes; must not be there yet.")],
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Write the evidence for an auditor: intervals, the whole ledger, and the hash that each witness tells of it.

    Example: witnessctl license export shop --out evidence.json
    """
    from witness.ctl import licenses  # noqa: PLC0415 - see status

    licenses.export(client_of(config, budget), group, out, as_json=as_json)


@license_app.command()
def waive(
    group: GroupName,
    name: Annotated[str, typer.Argument(metavar="LICENSE")],
    newest: Annotated[str, typer.Option("--newest", help="The version that is given up, as status shows it.")],
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
    budget: Budget = NO_BUDGET,
) -> None:
    """Give the newest sealed key of a license up, so that a site without it may be activated. For the last resort.

    The platform starts there with the key that it has; a vendor who has seen a
    newer one may refuse it. It counts until a site has been activated or a newer
    key is stored.

    Example: witnessctl license waive shop fingerprint --newest 7.12 --reason "dc-a burnt down, vendor was called"
    """
    from witness.ctl import licenses  # noqa: PLC0415 - see status

    require_reason(reason)
    licenses.waive(client_of(config, budget), group, name, newest, reason, as_json=as_json)
