"""Which members certainly hear their leader, seen from outside: looked at a few times in each election timeout.

Rule: a way between two machines is calm while both processes are the same, run and are quick, their clocks go on as
they did, they are connected by the same connection, nothing is cut and no mood lies on it. What comes and goes between
two looks is shorter than the shortest election timeout by far, or leaves a trace: another process, another connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proto.units import NS_PER_MS, WitnessId
from witness.sim.raft.checkers import KeepsTermChecker, Leading
from witness.sim.raft.host import Host
from witness.sim.raft.network import Network
from witness.sim.raft.path import CALM
from witness.sim.raft.setup import Setup

LOOKS_PER_ELECTION = 8
LEAP_NS = NS_PER_MS
"""What a clock may be off between two looks without having leapt."""


class Calm:
    def __init__(
        self,
        setup: Setup,
        hosts: Mapping[WitnessId, Host],
        network: Network,
        leader: Callable[[], Host | None],
        checker: KeepsTermChecker,
    ) -> None:
        self._hosts = hosts
        self._network = network
        self._leader = leader
        self._checker = checker
        self.every_ns = setup.timers.election_min_ms * NS_PER_MS // LOOKS_PER_ELECTION
        self._clocks: dict[WitnessId, tuple[int, int, int]] = {}
        """Of each machine: true time, its own, and how often its clock has leapt."""

    def look(self) -> None:
        leaps = {name: self._leaps(host) for name, host in self._hosts.items()}
        host = self._leader()
        if host is None or host.member is None or not self._runs(host):
            self._checker.look(None, {})
            return
        leading = Leading(str(host.name), host.member.view().term, (host.life, leaps[host.name]))
        ways = {str(name): self._way(host, other) for name, other in self._hosts.items() if other is not host}
        self._checker.look(
            leading, {name: None if way is None else (*way, leaps[WitnessId(name)]) for name, way in ways.items()}
        )

    def _leaps(self, host: Host) -> int:
        true_ns, own_ns = host.events.now_ns, int(host.clock.now())
        before = self._clocks.get(host.name, (true_ns, own_ns, 0))
        gone_ns = true_ns - before[0]
        off_ns = abs(own_ns - before[1] - gone_ns - gone_ns * host.clock.rate_ppm // 1_000_000)
        leaps = before[2] + (off_ns > LEAP_NS)
        self._clocks[host.name] = true_ns, own_ns, leaps
        return leaps

    def _runs(self, host: Host) -> bool:
        busy_ns = 0 if host.busy_since_ns is None else host.events.now_ns - host.busy_since_ns
        return host.member is not None and not host.stopped and busy_ns <= self.every_ns

    def _way(self, leader: Host, other: Host) -> tuple[int, ...] | None:
        """What is the same as long as the way is calm; None when it is not."""
        pair = (leader.name, other.name)
        sockets = (self._network.open_socket(*pair), self._network.open_socket(*reversed(pair)))
        if sockets[0] is None or sockets[1] is None or sockets[0].other is not sockets[1] or not self._runs(other):
            return None
        paths = [self._network.wire.paths[way] for way in (pair, (other.name, leader.name))]
        if any(path.cuts or path.weather != CALM for path in paths):
            return None
        return other.life, sockets[0].number
