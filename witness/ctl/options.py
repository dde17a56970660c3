"""The options that witnessctl's commands share, so that a family of commands can have a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from witness.ctl.client import BUDGET_S, ClusterClient
from witness.ctl.errors import Misused

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Which cluster; else THIRDSITE_CTL.")]
Budget = Annotated[float, typer.Option("--budget", help="Seconds for all witnesses together.", min=0.5, max=600)]
Json = Annotated[bool, typer.Option("--json", help="For programs; the last line is the answer.")]
GroupName = Annotated[str, typer.Argument(metavar="GROUP")]
SiteName = Annotated[str, typer.Argument(metavar="SITE")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept in the ledger.")]
NO_BUDGET = BUDGET_S


def client_of(config: Path | None, budget_s: float) -> ClusterClient:
    from witness.ctl.context import connect  # noqa: PLC0415 - pydantic is loaded only when a command runs

    return connect(config, budget_s)


def require_reason(reason: str) -> None:
    if not reason.strip():
        raise Misused("--reason is empty: say why, it is kept in the ledger")
