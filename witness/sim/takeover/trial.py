"""One takeover in simulated time, and the search for the worst one of a timing.

A trial is decided by its timing and its blow, to the nanosecond. So the search first sees a takeover without a
leader's death, and then lets the leader die around each instant at which something was under way then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proto.health import SiteState
from proto.takeover import Delays, takeover_max_ns
from proto.units import NS_PER_MS, NS_PER_S
from witness.sim.raft.setup import tuned
from witness.sim.takeover.setup import GROUP, HOLDER, OTHER, Timing
from witness.sim.takeover.world import TakeoverWorld

RENEWALS_BEFORE = 5
PATIENCE_NS = 60 * NS_PER_S
JUST_NS = 1


@dataclass(frozen=True, slots=True)
class Blow:
    """The site dies just after a heartbeat has left. And the leader?"""

    renews_by_follower: bool
    """The holder does not reach the leader, so that its last renewal waits at a follower meanwhile."""
    leader_after_ns: int | None
    """The leader's power fails this long after the site's; None: it lives."""
    splits: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    blow: Blow
    took_ns: int | None
    """None: not within PATIENCE_NS beyond the bound."""
    told: dict[str, int]
    """Since the site's death."""
    bound_ns: int
    delays: Delays
    violations: tuple[str, ...]

    @property
    def share(self) -> float:
        return float("inf") if self.took_ns is None else self.took_ns / self.bound_ns


def run(timing: Timing, blow: Blow) -> Trial:
    world = TakeoverWorld(timing)
    with tuned(world.setup.raft.tuning):
        try:
            return _run(world, blow)
        finally:
            world.cluster.close()


def _run(world: TakeoverWorld, blow: Blow) -> Trial:
    timing = world.timing
    _begin(world, blow)
    delays = world.delays()
    bound_ns = takeover_max_ns(timing.constants, timing.activation_ms, delays)
    world.milestones.clear()
    died_ns = _kill_site(world)
    if blow.leader_after_ns is not None:
        world.run_until(died_ns + blow.leader_after_ns)
        _kill_leader(world, splits=blow.splits)
    end_ns = died_ns + bound_ns + PATIENCE_NS
    while "active" not in world.milestones and world.events.next_ns() <= end_ns:
        world.events.happen()
    told = {kind: at_ns - died_ns for kind, at_ns in world.milestones.items()}
    violations = tuple(str(one) for one in world.judges.violations)
    return Trial(blow, told.get("active"), told, bound_ns, delays, violations)


def _begin(world: TakeoverWorld, blow: Blow) -> None:
    """Until the holder has renewed a few times, and the other site stands by."""
    world.begin()
    ttl_ns = world.timing.constants.ttl_ns
    lasts_ns = PATIENCE_NS + 6 * (ttl_ns + world.timing.constants.lock_delay_ms * NS_PER_MS)
    _until(
        world, lambda: _state(world, OTHER) is SiteState.STANDBY and _state(world, HOLDER) is SiteState.ACTIVE, lasts_ns
    )
    world.load_dice()
    leader = world.cluster.leader()
    if blow.renews_by_follower and leader is not None:
        world.network.cut(HOLDER, str(leader.name))
        world.network.cut(str(leader.name), HOLDER)
    world.run_until(world.events.now_ns + RENEWALS_BEFORE * ttl_ns // 3 + NS_PER_S)


def _kill_site(world: TakeoverWorld) -> int:
    sent: list[int] = []
    world.holder_sends = lambda: sent.append(world.events.now_ns)
    _until(world, lambda: bool(sent), PATIENCE_NS)
    world.run_until(sent[0] + JUST_NS)
    world.site(HOLDER).power_off()
    return world.events.now_ns


def _kill_leader(world: TakeoverWorld, *, splits: bool) -> None:
    leader = world.cluster.leader()
    if leader is None:
        return
    shortest_ns = world.timing.raft.election_min_ms * NS_PER_MS
    others = [dice for name, dice in world.dice.items() if name != leader.name]
    others[0].parts_at_ns = world.events.now_ns + (shortest_ns if splits else 0)
    world.cluster.kept_down.add(leader.name)
    leader.power_off()


def _until(world: TakeoverWorld, condition: object, within_ns: int) -> None:
    end_ns = world.events.now_ns + within_ns
    while not condition():  # type: ignore[operator]  # a callable
        if world.events.next_ns() > end_ns:
            raise RuntimeError(f"the trial of seed {world.timing.seed} does not begin: not within {within_ns} ns")
        world.events.happen()


def _state(world: TakeoverWorld, name: str) -> SiteState | None:
    agent = world.site(name).agent  # type: ignore[arg-type]  # a name is a site's
    return None if agent is None else agent.groups[GROUP].state


def search(timing: Timing) -> Iterator[Trial]:
    """One timing's trials: nobody else dies; the leader dies together with the site, and around what was under way."""
    calm = run(timing, Blow(renews_by_follower=True, leader_after_ns=None))
    yield calm
    half_ns = calm.delays.commit_ns // 2
    moments = [0]
    for kind, before_ns in (("expired", half_ns), ("expired", 0), ("granted", 0), ("claimed", half_ns)):
        if kind in calm.told:
            moments.append(calm.told[kind] - before_ns)
    for at_ns in moments:
        yield run(timing, Blow(renews_by_follower=True, leader_after_ns=at_ns))
