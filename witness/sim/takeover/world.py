"""The campaign's world at the edge of what `takeover_max` assumes, and the dice loaded against it.

Rule: nothing here is outside of the bound's assumptions. Every clock runs as slow as `drift_max` allows; every message
takes the longest that it ever takes; a store takes its longest; the site's steps take their budget; election timeouts
are the longest, and the first vote is split.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from agents.fencing.guard_model import Behaviour
from proto.takeover import Delays
from proto.units import NS_PER_MS, PPM, DurationNs, Nonce, SiteId
from witness.sim.judges import Judges
from witness.sim.platform import Platform
from witness.sim.raft.checkers import Findings
from witness.sim.raft.hardened import HardenedMember
from witness.sim.setup import rng_for
from witness.sim.site import SiteHost
from witness.sim.takeover.setup import HOLDER, OTHER, Timing, setup_of
from witness.sim.world import World

PLAN_BEGINS_NS = 16 * NS_PER_MS
"""A simulated plan begins up to 15 ms after it was asked for; the budget counts from the asking."""
LONGEST, NEXT_LONGEST = 0.9999, 0.9
"""Of the range of election timeouts. After a split vote one of the two is clear of the other, or nobody ever wins."""


class LoadedDice(random.Random):
    """An engine's: the longest timeouts that there are."""

    def __init__(self) -> None:
        super().__init__(0)
        self.parts_at_ns: int | None = None
        """From this true instant on its timeouts differ from the others'."""
        self.now = int

    def random(self) -> float:
        apart = self.parts_at_ns is not None and self.now() >= self.parts_at_ns
        return NEXT_LONGEST if apart else LONGEST


class SlowPlatform(Platform):
    """One step, as long as it may take."""

    takes_ns = 0

    def start_steps(self) -> list[Behaviour]:
        return [Behaviour(self.takes_ns, leaves_running=True, term_takes_ns=20 * NS_PER_MS)]


class ListeningJudges(Judges):
    """Tell when the holder sends a heartbeat."""

    def __init__(self, world: TakeoverWorld, findings: Findings) -> None:
        super().__init__(findings, lambda: world.events.now_ns, world.setup.groups)
        self._world = world

    def sent(self, host: str, nonce: Nonce) -> None:
        super().sent(host, nonce)
        if host == HOLDER:
            self._world.holder_sends()


class TakeoverWorld(World):
    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.dice: dict[str, LoadedDice] = {}
        self.milestones: dict[str, int] = {}
        """What of the takeover has happened, and when (true time)."""
        self.holder_sends = _nothing
        super().__init__(setup_of(timing))
        self.network.weather.delay_ns_min = self.network.weather.delay_ns_max = timing.site_delay_ns
        for path in self.cluster.network.wire.paths.values():
            path.delay_ns_min = path.delay_ns_max = timing.witness_delay_ns

    # -- building --------------------------------------------------------------------------------------------

    def rate_ppm(self, rng: random.Random) -> int:
        del rng
        return -self.setup.groups[0].constants.drift_max_ppm

    def _make_judges(self, findings: Findings) -> Judges:
        return ListeningJudges(self, findings)

    def _platform(self, host: str) -> Platform:
        slow = SlowPlatform(rng_for(self.setup.seed, f"platform/{host}"), self.hit, self.setup.data_checks)
        # The simulated agent's time-out is in true time, its guard's steps are on the host's slow clock.
        true_ns = max(NS_PER_MS, self.timing.activation_ms * NS_PER_MS - PLAN_BEGINS_NS)
        slow.takes_ns = true_ns * (PPM - self.timing.constants.drift_max_ppm) // PPM
        return slow

    def _site(self, site: SiteId, name: str) -> SiteHost:
        host = super()._site(site, name)
        budgeted = tuple(
            replace(group, activation_timeout_ms=self.timing.activation_ms) for group in host.settings.groups
        )
        host.settings = replace(host.settings, groups=budgeted)
        host.disk.write_ns_max = self.timing.store_ns
        return host

    def load_dice(self) -> None:
        for host in self.cluster.running():
            if isinstance(host.member, HardenedMember):
                dice = self.dice[str(host.name)] = LoadedDice()
                dice.now = partial(_now, self)  # type: ignore[assignment]  # a callable that yields the true instant
                host.member.load(dice)

    # -- what is known of it ---------------------------------------------------------------------------------

    def note(self, who: str, what: str) -> None:
        super().note(who, what)
        if who == OTHER and what.startswith("erp is active"):
            self.milestones.setdefault("active", self.events.now_ns)
        if who == "ledger":
            kind, _, site = what.split(" ")[:3]
            if kind == "expired" or site == OTHER:
                self.milestones.setdefault(kind, self.events.now_ns)

    def site(self, name: SiteId) -> SiteHost:
        return next(host for host in self.sites if host.name == name)

    def delays(self) -> Delays:
        """The longest of each, as the witnesses measured it; what nobody measures here is known exactly."""
        nodes = [host.node for host in self.witnesses.values() if host.node is not None]
        members = [host.member for host in self.cluster.running() if isinstance(host.member, HardenedMember)]
        turn_ns = self.setup.raft.cpu_ns + self.setup.raft.sync_ns
        return Delays(
            commit_ns=max(node.measures.commits.longest_ns for node in nodes),
            round_trip_ns=DurationNs(2 * self.timing.site_delay_ns + turn_ns),
            wake_ns=DurationNs(turn_ns),
            store_ns=DurationNs(self.timing.store_ns),
            election_ns=DurationNs(max(member.election_max_ms for member in members) * NS_PER_MS),
        )


def _now(world: World) -> int:
    return world.events.now_ns


def _nothing() -> None:
    """Nobody waits for it."""
