"""Faults of the network: moods that lie on the ways for a whole schedule, and blows that fall and pass.

A blow ends by itself after a drawn time, and all end when the schedule heals. `hit` is called where the fault bites
(a frame held up, lost, doubled), in wire.py, not where it is set.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS, NS_PER_S, WitnessId
from witness.sim.raft.path import Weather

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage as World

MOOD_ON = 0.7
"""Share of the ways that a mood lies on."""
SLOW_NS_MAX = 5 * NS_PER_S


def _loss(weather: Weather, rng: random.Random) -> Weather:
    return replace(weather, loss=rng.choice((0.02, 0.1, 0.3)))


def _duplicate(weather: Weather, rng: random.Random) -> Weather:
    return replace(weather, double=rng.choice((0.05, 0.2, 0.5)))


def _reorder(weather: Weather, rng: random.Random) -> Weather:
    return replace(weather, overtake=rng.choice((0.05, 0.2, 0.5)))


def _delay(weather: Weather, rng: random.Random) -> Weather:
    slow_ns = rng.choice((50 * NS_PER_MS, 500 * NS_PER_MS, SLOW_NS_MAX))
    return replace(weather, slow=rng.choice((0.01, 0.05)), slow_ns=slow_ns)


def _old_bytes(weather: Weather, rng: random.Random) -> Weather:
    return replace(weather, stale=rng.choice((0.03, 0.1, 0.3)))


def _bandwidth(weather: Weather, rng: random.Random) -> Weather:
    return replace(weather, bytes_per_s=rng.choice((4_000, 20_000, 100_000)))


MOODS: dict[str, Callable[[Weather, random.Random], Weather]] = {
    "loss": _loss,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "delay": _delay,
    "old-bytes": _old_bytes,
    "bandwidth": _bandwidth,
}


def set_moods(world: World, kinds: tuple[str, ...], rng: random.Random) -> None:
    moods = [MOODS[kind] for kind in kinds if kind in MOODS]
    if not moods:
        return
    for name, peer in sorted(world.network.wire.paths):
        weather = Weather()
        for mood in moods:
            if rng.random() < MOOD_ON:
                weather = mood(weather, rng)
        world.network.weather(name, peer, weather)


def _span_ns(world: World, rng: random.Random) -> int:
    """Shorter than an election, about one, or longer than a connection lives."""
    election_ns = world.setup.timers.election_max_ms * NS_PER_MS
    return int(rng.choice((0.2, 1.0, 2.0, 3.0, 5.0)) * election_ns * (0.5 + rng.random()))


def _cut_for(world: World, kind: str, pairs: list[tuple[WitnessId, WitnessId]], span_ns: int) -> None:
    for name, peer in pairs:
        world.network.cut(name, peer, kind)
        world.events.after(span_ns, partial(world.network.mend, name, peer, kind))
    world.note("network", f"{kind}: {' '.join(f'{a}>{b}' for a, b in pairs)} for {span_ns / NS_PER_S:.3f} s")


def _pair(world: World, rng: random.Random) -> tuple[WitnessId, WitnessId]:
    """The leader and another one more often than their share."""
    leader = world.leader()
    if leader is None or rng.random() < 0.5:
        name, peer = rng.sample(world.network.names, 2)
        return name, peer
    other = rng.choice([name for name in world.network.names if name != leader.name])
    return (leader.name, other) if rng.random() < 0.5 else (other, leader.name)


def cut_pair(world: World, rng: random.Random) -> None:
    name, peer = _pair(world, rng)
    _cut_for(world, "cut-pair", [(name, peer), (peer, name)], _span_ns(world, rng))


def cut_one_way(world: World, rng: random.Random) -> None:
    _cut_for(world, "cut-one-way", [_pair(world, rng)], _span_ns(world, rng))


def cut_set(world: World, rng: random.Random) -> None:
    """Two camps; the leader's is as likely the smaller one."""
    names = list(world.network.names)
    rng.shuffle(names)
    size = rng.randint(1, len(names) - 1)
    pairs = [(a, b) for a in names[:size] for b in names[size:]]
    _cut_for(world, "cut-set", pairs + [(b, a) for a, b in pairs], _span_ns(world, rng))


def isolate_leader(world: World, rng: random.Random) -> None:
    """An old leader goes on alone and is given work that will never be committed, while the others elect another."""
    leader = world.leader()
    if leader is None:
        return
    others = [name for name in world.network.names if name != leader.name]
    pairs = [(leader.name, other) for other in others] + [(other, leader.name) for other in others]
    span_ns = int(world.setup.timers.election_max_ms * NS_PER_MS * rng.uniform(1.5, 5))
    _cut_for(world, "isolate-leader", pairs, span_ns)
    for _ in range(rng.randint(1, 4)):
        world.fault_after(int(rng.random() * span_ns), partial(world.propose_at, leader, rng.choice((1, 3, 12))))
    for _ in range(rng.randint(0, 3)):
        host = world.hosts[rng.choice([name for name in others if name in world.hosts])]
        world.fault_after(int(rng.uniform(0.5, 1) * span_ns), partial(world.propose_at, host, rng.choice((1, 12, 25))))


def reset(world: World, rng: random.Random) -> None:
    if world.network.reset(*_pair(world, rng)):
        world.hit("reset")


def flap(world: World, rng: random.Random) -> None:
    """A way that goes and comes about once an election timeout."""
    name, peer = _pair(world, rng)
    period_ns = int(world.setup.timers.election_min_ms * NS_PER_MS * rng.uniform(0.5, 1.5))
    for number in range(rng.randint(3, 8)):
        starts_ns = 2 * number * period_ns
        both = [(name, peer), (peer, name)]
        world.fault_after(starts_ns, partial(_cut_for, world, "flap", both, period_ns))


BLOWS = {
    "cut-pair": cut_pair,
    "cut-one-way": cut_one_way,
    "cut-set": cut_set,
    "reset": reset,
    "flap": flap,
    "isolate-leader": isolate_leader,
}
