"""The host's watchdog: is there one, who has it, and can it be stopped again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.settings import GroupSpec
from agents.units.text import assignments

CLASS = "sys/class/watchdog"
MANAGER_FILES = ("etc/systemd/system.conf", "run/systemd/system.conf", "usr/lib/systemd/system.conf")
MANAGER_DIRECTORIES = tuple(f"{file}.d" for file in MANAGER_FILES)
_OFF = ("", "0", "off", "infinity")


def check_watchdog(host: Host) -> Iterator[Finding]:
    for group in host.enforced():
        yield from _wanted(host, group)
    devices = [entry.name for entry in host.entries(CLASS) or () if entry.name.startswith("watchdog")]
    if not devices:
        what = "there is no watchdog device"
        why = "when the kernel itself hangs, nothing resets this host"
        remedy = "use the machine's own (BIOS, BMC), or at least load softdog"
        yield Finding(Severity.NOTE, "watchdog", what, Promise.NO_SPLIT_BRAIN, why, remedy)
        return
    for name in devices:
        yield from _device(host, name)
    yield from _manager(host)


def _wanted(host: Host, group: GroupSpec) -> Iterator[Finding]:
    """The device that the group's ladder names must be there."""
    device = group.ladder.watchdog
    if not device or (host.root / device.lstrip("/")).exists():
        return
    required = "watchdog" in group.ladder.required
    what = f"{device} is not there"
    why = "the group requires it: this site is not ready" if required else "the group's last rung is missing here"
    severity = Severity.BROKEN if required else Severity.WARNING
    remedy = "load the driver of the board's watchdog, or correct ladder.watchdog.device"
    yield Finding(severity, device, what, Promise.COMES_BACK, why, remedy, group.group)


def _device(host: Host, name: str) -> Iterator[Finding]:
    identity = (host.text(f"{CLASS}/{name}/identity") or "unknown").strip()
    if identity == "Software Watchdog":
        what = f"{name} is softdog: it runs in the kernel that it watches"
        why = "it does not help when the kernel hangs, or when the whole guest is paused"
        remedy = "prefer the watchdog of the board or of the hypervisor"
        yield Finding(Severity.NOTE, name, what, Promise.NO_SPLIT_BRAIN, why, remedy)
    holders = _holders(host, name)
    if holders:
        what = f"{name} ({identity}) is held by {', '.join(holders)}"
        why = "only one process can have it: a guard that is to use it would not get it"
        remedy = "leave it to the other one, or take it away there (RuntimeWatchdogSec=0, stop the daemon)"
        yield Finding(Severity.NOTE, name, what, Promise.NO_SPLIT_BRAIN, why, remedy)


def _holders(host: Host, name: str) -> list[str]:
    """Processes with the device open, as far as they may be looked at."""
    wanted = {f"/dev/{name}", *(("/dev/watchdog",) if name == "watchdog0" else ())}
    entries = host.entries("proc") or ()
    pids = [entry.name for entry in entries if entry.name.isdigit() and _opens(entry / "fd", wanted)]
    return [f"{(host.text(f'proc/{pid}/comm') or '?').strip()} ({pid})" for pid in pids]


def _opens(descriptors: Path, wanted: set[str]) -> bool:
    try:
        return any(os.readlink(one) in wanted for one in descriptors.iterdir())  # noqa: PTH115 - as text, not followed
    except OSError:
        return False


def _manager(host: Host) -> Iterator[Finding]:
    places = [file for file in MANAGER_FILES if host.text(file) is not None][:1]
    for directory in MANAGER_DIRECTORIES:
        places += [f"{directory}/{entry.name}" for entry in host.entries(directory) or () if entry.suffix == ".conf"]
    value = ""
    for place in places:
        for one in assignments(host.text(place) or "", place):
            if one.key == "RuntimeWatchdogSec":
                value = one.value
    if value not in _OFF:
        what = f"systemd feeds the watchdog (RuntimeWatchdogSec={value})"
        why = "it resets a host whose systemd hangs, which says nothing about the lease"
        remedy = "that is fine where no group says watchdog: required; else set RuntimeWatchdogSec=0"
        yield Finding(Severity.NOTE, "watchdog", what, Promise.NO_SPLIT_BRAIN, why, remedy)
