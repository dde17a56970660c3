"""What would start a unit without anybody asking: a boot, another unit, a timer, a socket, a message, a device.

Rule: every way in is followed upwards until something that systemd begins by itself (a target of its boot, an event);
a unit that nothing reaches this way is started by people and plans only. A timer, socket or path that is neither
enabled nor wanted is such a unit, too, and harmless until somebody starts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from agents.units.names import covers, sibling, unit_type
from agents.units.text import assignments, is_true
from agents.units.tree import Unit, UnitTree

BY_ITSELF = frozenset(
    f"{name}.target"
    for name in (
        *("default", "multi-user", "graphical", "basic", "sysinit", "local-fs", "local-fs-pre", "remote-fs"),
        *("remote-fs-pre", "network", "network-pre", "network-online", "nss-lookup", "nss-user-lookup", "sockets"),
        *("timers", "paths", "slices", "swap", "time-sync", "time-set", "rpcbind", "getty", "machines", "cryptsetup"),
        *("integritysetup", "veritysetup", "boot-complete", "first-boot-complete", "printer", "bluetooth", "sound"),
        *("smartcard", "usb-gadget", "sleep", "suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate"),
        *("rescue", "emergency", "shutdown", "umount", "final", "reboot", "poweroff", "halt", "kexec", "exit"),
        *("system-update", "ctrl-alt-del", "runlevel2", "runlevel3", "runlevel4", "runlevel5"),
    )
)
"""Targets that systemd starts at a boot or at an event (systemd.special(7))."""
PULLING = ("Wants", "Requires", "BindsTo", "Upholds", "OnFailure", "OnSuccess")
BUS_DIRECTORIES = (
    "etc/dbus-1/system-services",
    "run/dbus-1/system-services",
    "usr/local/share/dbus-1/system-services",
    "usr/share/dbus-1/system-services",
    "lib/dbus-1/system-services",
)
UDEV_DIRECTORIES = ("etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d")
_UDEV_WANTS = re.compile(r'SYSTEMD_WANTS\}\s*\+?=\s*"([^"]*)"')
DEPTH_MAX = 16


@dataclass(frozen=True, slots=True)
class Edge:
    """`owner` starts `unit`, because of what stands at `where`."""

    owner: str
    unit: str
    where: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Starter:
    """One way from something that happens by itself down to the unit; `edges` from the unit upwards."""

    edges: tuple[Edge, ...]

    @property
    def words(self) -> str:
        return ", which ".join(f"{edge.owner} starts ({edge.where})" for edge in self.edges)

    @property
    def remedy(self) -> str:
        return self.edges[-1].remedy if len(self.edges) > 1 else self.edges[0].remedy


class Starters:
    """Owns the graph of one tree."""

    def __init__(self, tree: UnitTree) -> None:
        self._tree = tree

    def of(self, unit: Unit) -> list[Starter]:
        """Every first edge that leads up to something that happens by itself, with its shortest way."""
        found: list[Starter] = []
        for name in unit.names:
            for edge in self._into(name):
                chain = self._upwards((edge,), {name})
                if chain is not None:
                    found.append(Starter(chain))
        return found

    def _upwards(self, chain: tuple[Edge, ...], seen: set[str]) -> tuple[Edge, ...] | None:
        owner = chain[-1].owner
        if owner in BY_ITSELF or unit_type(owner) in ("D-Bus", "udev"):
            return chain
        if owner in seen or len(chain) >= DEPTH_MAX:
            return None
        seen = seen | {owner}
        ways = (self._upwards((*chain, edge), seen) for edge in self._into(owner))
        return min((way for way in ways if way is not None), key=len, default=None)

    def _into(self, name: str) -> Iterable[Edge]:
        return [edge for edge in self._edges if covers(name, edge.unit)]

    @cached_property
    def _edges(self) -> tuple[Edge, ...]:
        return (*self._links(), *self._directives(), *self._bus(), *self._udev())

    def _links(self) -> Iterator[Edge]:
        for owner, unit, link in self._tree.pulls():
            vendor = not link.startswith(("/etc/", "/run/"))
            mask = f"ln -s /dev/null /etc/systemd/system/{'/'.join(link.rsplit('/', 2)[-2:])}"
            yield Edge(owner, unit, f"link {link}", mask if vendor else f"systemctl disable {unit}")

    def _directives(self) -> Iterator[Edge]:
        for name in self._tree.names():
            unit = self._tree.load(name)
            if unit is None or unit.masked:
                continue
            for key in PULLING:
                for word in unit.words("Unit", key):
                    yield self._edge(name, word, f"{key}= of {name}", f"take it out of {key}= of {name}")
            yield from self._activations(unit)

    def _activations(self, unit: Unit) -> Iterator[Edge]:
        kind = unit_type(unit.name)
        remedy = f"systemctl disable --now {unit.name}, or systemctl mask {unit.name}"
        if kind in ("timer", "path"):
            target = unit.last(kind.title(), "Unit", sibling(unit.name, "service"))
            yield self._edge(unit.name, target, f"a {kind}", remedy)
        elif kind == "socket":
            accept = is_true(unit.last("Socket", "Accept", "no"))
            stem = unit.name.rpartition(".")[0]
            default = f"{stem}@.service" if accept else f"{stem}.service"
            for target in unit.words("Socket", "Service") or [default]:
                yield self._edge(unit.name, target, "a socket", remedy)

    def _edge(self, owner: str, unit: str, where: str, remedy: str) -> Edge:
        return Edge(owner, self._tree.identity(unit), where, remedy)

    def _bus(self) -> Iterator[Edge]:
        for path, text in self._texts(BUS_DIRECTORIES, ".service"):
            values = {one.key: one.value for one in assignments(text, path)}
            if "SystemdService" in values:
                yield self._edge("message.D-Bus", values["SystemdService"], path, f"remove or override {path}")

    def _udev(self) -> Iterator[Edge]:
        for path, text in self._texts(UDEV_DIRECTORIES, ".rules"):
            for wanted in _UDEV_WANTS.findall(text):
                for word in wanted.split():
                    yield self._edge("device.udev", word, path, f"override {path}")

    def _texts(self, directories: tuple[str, ...], suffix: str) -> Iterator[tuple[str, str]]:
        for place in directories:
            directory = self._tree.resolved(self._tree.root / place)
            for path in sorted(directory.glob(f"*{suffix}")) if directory.is_dir() else ():
                if path.is_file() and not self._tree.is_null(path):
                    yield self._tree.shown(path), path.read_text(encoding="utf-8", errors="replace")
