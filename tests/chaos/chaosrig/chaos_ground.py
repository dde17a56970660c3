"""What every world of a run stands on: hosts with network, control groups and clocks, a referee, time that passes.

Everything that is started belongs to a host's control group or is a child of the run, and is ended by its process id.
Whoever waits calls `wait_for`, which lets service managers do their work meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from chaosrig import chaos_edge
from chaosrig.chaos_cgroup import HostGroup, cgroup2_mount
from chaosrig.chaos_net import Net
from chaosrig.chaos_units import Host, Unit, Units
from fencerig import activity_referee
from fencerig.activity import Report, read_report

T = TypeVar("T")
START_S = 90.0
SETTLE_S = 60.0
REFEREE_S = 20.0
AGE_TTLS_MAX = 3
LOOK_AGAIN_S = 0.02


class Missing(Exception):
    """What was expected did not come in time; the text says what, and what was seen instead."""


@dataclass(frozen=True, slots=True)
class Active:
    """Who is active when all is well."""

    site: str
    epoch: int
    """As those who decide know it."""
    life: int
    """The epoch by which the platform was started: an older one after a grant in place."""


@dataclass(frozen=True, slots=True)
class Lease:
    age_ms: float
    """Since its last renewal arrived, no less than that."""
    full_ms: float
    """What it has left at that instant, an allowance for drift included."""
    renewal_ms: float | None
    """From one renewal to the next; None: not known yet."""

    @property
    def left_ms(self) -> float:
        return self.full_ms - self.age_ms


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Ground(ABC):
    """Owned by the run. `end` leaves no process, group or mount; the directory is the caller's."""

    def __init__(self, net: Net, root: Path, ttl_ms: int, sites: Mapping[str, Sequence[str]], witnesses: Sequence[str]):
        self.net = net
        self.root = root
        self.ttl_ms = ttl_ms
        self.ttl_s = ttl_ms / 1_000
        self.sites = sites
        self.witnesses = witnesses
        self.edge_library = chaos_edge.build(root)
        self.stamps = root / "stamps"
        self.referee_socket = root / "referee.sock"
        for path in (self.stamps, root / "edge", root / "logs"):
            path.mkdir(exist_ok=True)
        mount = cgroup2_mount(root / "cgroup2")
        self.hosts = {
            name: Host(name, HostGroup(root.name, name, mount), chaos_edge.Edge(root / "edge" / name))
            for name in net.names
        }
        self.units = Units(net, self.edge_library)
        self.pulses: list[Callable[[float], None]] = []
        """Called whenever time passes: faults that do more than begin and end."""
        self.last_active = ""
        """Whom `active` means while nobody is: two faults at once are about the same site."""
        self.seen = "nothing yet"
        """What stood against the last look for calm."""

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def start_referee(self) -> None:
        command = [sys.executable, "-I", "-S", activity_referee.__file__, str(self.referee_socket), str(self.stamps)]
        with self.log("referee").open("ab") as log:
            self.units.helpers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log.fileno()))
        wait_for(self, self.referee_socket.exists, "the referee listens", START_S)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            for host in self.hosts.values():
                host.group.freeze(frozen=False)
        self.units.end()
        for host in self.hosts.values():
            host.group.kill()
        self.reap()
        for host in self.hosts.values():
            host.group.remove()
        self.net.close()

    def tend(self) -> None:
        """What goes on while somebody waits."""
        self.units.tend()
        for pulse in list(self.pulses):
            pulse(time.monotonic())

    @staticmethod
    def reap() -> None:
        """Orphans of dead agents came to this process."""
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
                continue

    # -- looks ----------------------------------------------------------------------------------------------

    def referee(self) -> Report:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(REFEREE_S)
            sock.connect(str(self.referee_socket))
            sock.sendall(b"report\n")
            return read_report(json.loads(sock.makefile().readline()))

    @abstractmethod
    def leader(self) -> str | None:
        """The witness that leads, None while none does."""

    @abstractmethod
    def look(self) -> Active | None:
        """Who is active, when all is well; else None and `seen`."""

    @abstractmethod
    def epoch(self) -> int:
        """The newest that anybody who decides knows of."""

    @abstractmethod
    def lease(self) -> Lease | None:
        """The active site's, where the witness that leads counts it; None: nobody can tell now."""

    def age_lease(self, age_ms: int) -> Lease:
        """Returns at the instant when the active site's lease is so old; raises Missing."""
        ends = time.monotonic() + AGE_TTLS_MAX * self.ttl_s
        while time.monotonic() < ends:
            seen = self.lease()
            if seen is not None and seen.age_ms <= age_ms:
                pass_time(self, (age_ms - seen.age_ms) / 1_000)
                return replace(seen, age_ms=age_ms)
            pass_time(self, LOOK_AGAIN_S)
        raise Missing(f"a lease that is {age_ms} ms old: not within {AGE_TTLS_MAX} leases; last: {self.lease()}")

    def keep_evidence(self) -> None:  # noqa: B027 - most have nothing to keep
        """What is gone with the world and should be looked at."""

    def settled(self, seconds: float = SETTLE_S) -> Active:
        """One site is whole and active, the other ready, all witnesses well."""
        try:
            found = wait_for(self, self.look, "one site is active, the other ready, all witnesses well", seconds)
        except Missing as missing:
            raise Missing(f"{missing}; last: {self.seen}") from None
        self.last_active = found.site
        return found

    def is_well(self) -> bool:
        self.tend()
        return self.look() is not None

    def not_yet(self, why: str) -> None:
        self.seen = why

    # -- who, by the words of the scenario language -----------------------------------------------------------

    def site(self, word: str) -> str:
        if word in self.sites:
            return word
        active = self.active_site() or self.last_active
        if not active:
            raise Missing(f"no site was active yet, so none is {word}")
        return active if word == "active" else self.other(active)

    def other(self, site: str) -> str:
        return next(name for name in self.sites if name != site)

    def active_site(self) -> str | None:
        """By what the referee sees."""
        alive = [one for one in self.referee().seen if one.gone_ns is None and one.site in self.sites]
        return max(alive, key=lambda one: one.epoch).site if alive else None

    def witness(self, word: str) -> str:
        if word in self.witnesses:
            return word
        leader = wait_for(self, self.leader, "a witness leads", START_S)
        return leader if word == "leader" else next(name for name in self.witnesses if name != leader)

    def names(self, word: str) -> list[str]:
        """Hosts: a site is its lead, which alone speaks with witnesses."""
        if word == "witnesses":
            return list(self.witnesses)
        if word == "sites":
            return [hosts[0] for hosts in self.sites.values()]
        if word in ("leader", "follower", *self.witnesses):
            return [self.witness(word)]
        return [self.sites[self.site(word)][0]]

    def site_hosts(self, word: str) -> list[Host]:
        return [self.hosts[name] for name in self.sites[self.site(word)]]

    def unit(self, host: str) -> Unit:
        return self.units.all[host]


def wait_for(world: Ground, look: Callable[[], T | None], what: str, seconds: float) -> T:
    """The first look that is neither None nor False; raises Missing."""
    ends = time.monotonic() + seconds
    while True:
        world.tend()
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > ends:
            raise Missing(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)  # between two looks


def pass_time(world: Ground, seconds: float) -> None:
    """A span that must pass; service managers work on."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        world.tend()
        time.sleep(min(left, 0.02))  # the span that the caller names


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
