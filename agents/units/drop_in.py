"""The drop-in that brings a service under a guard: its commands behind `site-agent exec`, and what follows from that.

Rule: the service stays what it is; only how it is started changes, and a package update of its unit file keeps working.
- ExecStartPre=, ExecStart= and ExecStartPost= act for the platform, so each is wrapped; conditions and stops are not.
- The guard is the main process: it hands on signals, so `KillMode=mixed` stops by it alone first. It keeps root where
  the unit has a User=, and gives it up for the program with setpriv.
- A lost lease (75), a missing agent (69, 78) and the kernel's kill at the deadline end the unit for good; crashes of
  the program are restarted as the unit says, under the lease that still runs.
- A service that forks is held by its guard until its namespace is empty (`--forking`), and stopped by it: pid files
  hold numbers of the namespace, so a stop command that reads one would signal somebody else.
Rejected: editing the unit file, an ExecStart override written by hand (forgets a line, a prefix, a restart rule).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.units.exec_line import Command, commands, wrap, wrapped_group
from agents.units.sandbox import Fit, S, fit
from agents.units.tree import Unit

DROP_IN = "zz-thirdsite.conf"
"""Sorts behind what people write; whatever comes after it may not touch what it sets."""
WRAPPED_KEYS = ("ExecStartPre", "ExecStart", "ExecStartPost")
SET_KEYS = (*WRAPPED_KEYS, "Type", "KillMode", "NotifyAccess")
NO_RESTART = "69 75 78 SIGKILL"
HANDED_ON = frozenset({"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"})
SETPRIV = "/usr/bin/setpriv"
PID_FILE_NOTE = "programs in it see pids of their own namespace: what reads a pid file outside finds wrong numbers"


@dataclass(frozen=True, slots=True)
class Front:
    """How the guard is called."""

    program: str
    group: str
    socket: str = ""
    """'' for the default."""
    runtime_dir: str = "/run/thirdsite"

    def words(self, forking: bool) -> str:
        socket = f" --socket {self.socket}" if self.socket else ""
        return f"{self.program} exec --group {self.group}{socket}{' --forking' if forking else ''}"


@dataclass(frozen=True, slots=True)
class DropIn:
    """Not to be written while there is a refusal."""

    unit: str
    text: str
    notes: tuple[str, ...]
    refusals: tuple[str, ...]


def unit_group(unit: Unit) -> str | None:
    """The group under which every ExecStart of the unit runs, None when one does not."""
    groups = {wrapped_group(command) for value in unit.values(S, "ExecStart") for command in commands(value)}
    return groups.pop() if len(groups) == 1 else None


def make_drop_in(unit: Unit, front: Front, passwd: str) -> DropIn:
    """`unit` is loaded without this drop-in; `passwd`: the host's table of users."""
    made = fit(unit, front.runtime_dir)
    made.refusals += _unfit(unit)
    forking = unit.last(S, "Type") == "forking"
    drop = _privileges(unit, passwd, made)
    lines = ["[Service]", *_type_lines(unit, made, forking), "KillMode=mixed", "SendSIGKILL=yes"]
    lines.append(f"RestartPreventExitStatus={NO_RESTART}")
    for key in WRAPPED_KEYS:
        lines += _exec_lines(key, unit, front.words(forking and key == "ExecStart"), drop)
    lines += made.lines
    made.notes += _notes(unit, forking)
    head = f"# Made by `site-agent wrap {unit.name}`, undone by the same with --undo: runs only under the lease.\n"
    return DropIn(unit.name, head + "\n".join(lines) + "\n", tuple(made.notes), tuple(made.refusals))


def _unfit(unit: Unit) -> Iterator[str]:
    if unit.masked:
        yield f"it is masked by {unit.fragment}; systemctl unmask {unit.name}"
    if not unit.fragment:
        yield "there is no unit file of that name; correct the name"
    if unit_group(unit) is not None:
        yield "its unit file or another drop-in runs site-agent exec already; remove that first"
    elif not unit.values(S, "ExecStart"):
        yield "it has no ExecStart=, so there is nothing to wrap; name the unit that starts the program"
    signal = unit.last(S, "KillSignal", "SIGTERM")
    if signal not in HANDED_ON:
        yield f"KillSignal={signal} is not handed on by a guard; set it to one of {', '.join(sorted(HANDED_ON))}"
    late = {one.file for one in unit.settings if _is_late(one.file) and one.section == S and one.key in SET_KEYS}
    for file in sorted(late):
        yield f"{file} is read after {DROP_IN} and would undo it; rename it to sort before"


def _is_late(file: str) -> bool:
    name = file.rpartition("/")[2]
    return name.endswith(".conf") and name > DROP_IN


def _type_lines(unit: Unit, made: Fit, forking: bool) -> Iterator[str]:
    kind = unit.last(S, "Type", "dbus" if unit.last(S, "BusName") else "simple")
    if forking:
        yield "Type=exec"
        yield "PIDFile="
        yield "ExecStop="
        yield "ExecStopPost="
        made.notes.append("Type=forking: it counts as started at once; let an activation step wait until it is up")
        if unit.values(S, "ExecStop") or unit.values(S, "ExecStopPost"):
            made.notes.append(
                f"its ExecStop= lines are not run, TERM goes to the whole namespace instead: {PID_FILE_NOTE}"
            )
    elif kind in ("notify", "notify-reload") or unit.last(S, "WatchdogSec"):
        yield "NotifyAccess=all"
        made.notes.append(f"start-up and watchdog messages are taken from the namespace (Type={kind})")
    if kind == "oneshot":
        made.notes.append("Type=oneshot: what a command leaves running ends with that command")


def _exec_lines(key: str, unit: Unit, front: str, drop: str) -> Iterator[str]:
    found = [command for value in unit.values(S, key) for command in commands(value)]
    if found:
        yield f"{key}="
    for command in found:
        yield f"{key}={_wrapped(command, front, drop)}"


def _wrapped(command: Command, front: str, drop: str) -> str:
    by_prefix = "+" in command.prefixes or "!" in command.prefixes.replace("!!", "")
    return wrap(command, front, elevate=bool(drop), before="" if by_prefix else drop)


def _privileges(unit: Unit, passwd: str, made: Fit) -> str:
    """What gives root up before the program; '' for a unit that runs as root."""
    user, group = unit.last(S, "User", "root"), unit.last(S, "Group")
    if user in ("root", "0") and group in ("", "root", "0"):
        return ""
    group = group or _primary_group(user, passwd)
    if not group:
        made.refusals.append(f"the group of User={user} is not in /etc/passwd; set Group= beside it")
    words = [SETPRIV, f"--reuid={user}", f"--regid={group}", "--init-groups"]
    ambient = unit.words(S, "AmbientCapabilities")
    if any(word.startswith("~") for word in ambient):
        made.refusals.append("AmbientCapabilities= with ~ cannot be handed on; list the capabilities that it needs")
    if ambient:
        wanted = ",".join(f"+{word.removeprefix('CAP_').removeprefix('cap_').lower()}" for word in ambient)
        words += [f"--inh-caps={wanted}", f"--ambient-caps={wanted}"]
    if unit.words(S, "SupplementaryGroups"):
        made.notes.append("SupplementaryGroups= is not handed on: add the user to those groups instead")
    made.notes.append(f"the guard runs as root and gives it up for the program ({user}:{group})")
    return " ".join(words)


def _primary_group(user: str, passwd: str) -> str:
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 3 and user in (fields[0], fields[2]):
            return fields[3]
    return ""


def _notes(unit: Unit, forking: bool) -> Iterator[str]:
    asked = [*unit.values(S, "ExecReload"), *([] if forking else [*unit.values(S, "ExecStop")])]
    if any("MAINPID" not in line for line in asked):
        yield f"ExecStop= and ExecReload= stay outside of the namespace; {PID_FILE_NOTE}"
    yield "until the lease is there its commands wait: `systemctl start` may take until TimeoutStartSec="


def effective_problems(unit: Unit, group: str) -> Sequence[str]:
    """Of a unit as it is now, drop-in included: what keeps it from running under the lease of `group` only."""
    found = unit_group(unit)
    if found is None:
        return (f"its ExecStart= is not `site-agent exec`: run `site-agent wrap {unit.name} --group {group} --write`",)
    if found != group:
        return (f"it runs under the lease of {found}, not of {group}: wrap it again with --group {group}",)
    return ()
