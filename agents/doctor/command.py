"""`site-agent doctor`: runs every check, says what each finding means and what to do, and exits by the worst.

Rule: a check that fails is itself a finding; nothing is changed on the host; without rights less is seen, and said.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agents.config_any import load_any_config
from agents.doctor.check_clocks import check_clocks
from agents.doctor.check_containers import check_containers
from agents.doctor.check_cron import check_cron
from agents.doctor.check_files import check_files
from agents.doctor.check_license import check_license
from agents.doctor.check_live import check_live
from agents.doctor.check_rights import check_rights
from agents.doctor.check_setup import check_setup
from agents.doctor.check_units import check_units
from agents.doctor.check_watchdog import check_watchdog
from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host, site_of
from agents.local.client import AgentUnreachable, agent_status
from agents.settings import SiteSettings
from proto.clock import SystemClock
from proto.units import NS_PER_S

CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    *(check_units, check_cron, check_containers, check_rights),
    *(check_clocks, check_watchdog, check_files, check_license, check_setup),
)
TRIAL_S = 20.0
_ORDER = (Severity.BROKEN, Severity.WARNING, Severity.NOTE)


def examine(config: Path, root: Path = Path("/")) -> list[Finding]:
    """Raises ConfigRefused. Worst first."""
    found = load_any_config(config)
    settings, member = (found, None) if isinstance(found, SiteSettings) else (site_of(found), found)
    clock = SystemClock()
    status = _status(settings)
    host = Host(settings, root, _trial(), status, member, clock.read().wall_ns / NS_PER_S)
    return judge(host)


def judge(host: Host, *, live: bool = True) -> list[Finding]:
    found = [finding for check in CHECKS for finding in _guarded(check, host)]
    if live:
        found += asyncio.run(check_live(host))
    return sorted(found, key=lambda one: _ORDER.index(one.severity))


def _guarded(check: Callable[[Host], Iterator[Finding]], host: Host) -> Iterator[Finding]:
    try:
        yield from check(host)
    except Exception as error:  # noqa: BLE001 - one broken file of the host must not hide what the other checks see
        what = f"the check itself failed: {error!r}"
        why = "what it would have found is unknown"
        name = check.__name__.removeprefix("check_")
        yield Finding(Severity.WARNING, name, what, Promise.EXPLAINED, why, "report this with the line above")


def _status(settings: SiteSettings) -> dict[str, Any] | None:
    try:
        return agent_status(settings.status_socket)
    except AgentUnreachable:
        return None


def _trial() -> dict[str, Any]:
    """What a guard gets here; {} when that could not be found out."""
    command = (sys.executable, "-P", "-m", "agents.doctor.trial")
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRIAL_S, check=True, cwd="/")
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
