"""What in a service's settings stands in the way of a guard, and what a drop-in can do about it. Pure tables.

Rule: a drop-in widens only what the guard needs, and every widening is said. What it cannot mend is a refusal with the
remedy; nothing is left to be found out at the deadline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agents.units.text import is_true
from agents.units.tree import Unit

GUARD_CAPABILITIES = (
    *("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"),
    *("CAP_SYS_RESOURCE", "CAP_SYS_NICE", "CAP_IPC_LOCK", "CAP_DAC_OVERRIDE"),
)
S = "Service"


@dataclass(slots=True)
class Fit:
    """What comes of a look at one unit's settings."""

    lines: list[str] = field(default_factory=list)
    """For the drop-in."""
    notes: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def fit(unit: Unit, runtime_dir: str) -> Fit:
    result = Fit()
    for key in ("RootDirectory", "RootImage"):
        if unit.last(S, key):
            result.refusals.append(
                f"{key}=: site-agent is not in there; install it inside and wrap the command by hand, or drop {key}="
            )
    if is_true(unit.last(S, "DynamicUser")):
        result.refusals.append("DynamicUser=: the guard needs a user with a name; set User= and DynamicUser=no")
    for line, note in _widened(unit, runtime_dir):
        result.lines.append(line)
        result.notes.append(note)
    if unit.last(S, "OOMScoreAdjust"):
        result.notes.append("OOMScoreAdjust= is not handed on: the program runs with 0, its guard with -1000")
    return result


def _widened(unit: Unit, runtime_dir: str) -> Iterator[tuple[str, str]]:
    if unit.last(S, "ProtectSystem") == "strict":
        yield f"ReadWritePaths=-{runtime_dir}", f"{runtime_dir} stays writable: the guard keeps its record there"
    if unit.values(S, "CapabilityBoundingSet"):
        yield (
            f"CapabilityBoundingSet={' '.join(GUARD_CAPABILITIES)}",
            "the bounding set grows by what a guard needs; a program that runs as root can use it too",
        )
    filters = unit.values(S, "SystemCallFilter")
    if filters:
        yield (
            "SystemCallFilter=@mount @process @resources @memlock @timer @privileged",
            "the system call filter grows by what a guard needs (namespaces, mounts, timers, priorities)",
        )
    if unit.last(S, "RestrictNamespaces"):
        yield "RestrictNamespaces=pid mnt", "PID and mount namespaces are allowed: the guard makes them"
    if is_true(unit.last(S, "MemoryDenyWriteExecute")):
        yield "MemoryDenyWriteExecute=no", "MemoryDenyWriteExecute= is off: the guard's interpreter needs it so"
    if unit.last(S, "ProcSubset") == "pid":
        yield "ProcSubset=all", "/proc is whole: the guard reads the boot id"
    if is_true(unit.last(S, "PrivateUsers")):
        yield "PrivateUsers=no", "PrivateUsers= is off: the guard must be root on the host"
