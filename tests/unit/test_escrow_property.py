"""Random schedules of a vendor's key that changes, puts that are lost, late, repeated or from a former holder.

Whatever happens, a stored version never goes back, an answer that says *done* is kept, and whoever becomes active
begins with a key that is not older than the newest one that was acknowledged to anybody, or that any site said it has.
A second machine, restored from images on the way, stays equal.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from core_rig import A, B, C
from escrow_rig import KEY, EscrowRig, licensed

from proto.commands import PutEscrow
from proto.decisions import Reason
from proto.license import EscrowPolicy, EscrowVersion, SealedKey, held_of
from proto.units import Epoch, SiteId
from witness.core.machine import Machine
from witness.core.transitions import Phase

SEEDS, STEPS = 120, 70
FLIGHT_MAX = 6


def key_of(value: SealedKey) -> int:
    return int(value.box[:8])


@dataclass
class Site:
    disk: SealedKey | None = None
    """The newest sealed key that it keeps, and opens."""
    number: int = 0
    """The highest number that it heard of."""


@dataclass
class World:
    """One group of three sites; `key` counts the vendor's keys: an older one is dead."""

    seed: int
    rng: random.Random = field(init=False)
    rig: EscrowRig = field(init=False)
    shadow: Machine = field(init=False)
    sites: dict[SiteId, Site] = field(init=False)
    key: int = 0
    acknowledged: int = 0
    """The newest key whose put was answered with OK."""
    told: dict[SiteId, int] = field(default_factory=dict)
    """The key that each site said last that it holds."""
    newest: EscrowVersion | None = None
    flight: list[PutEscrow] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.rig = EscrowRig(EscrowPolicy.REQUIRED, A, B, C, hold=False)
        self.shadow = Machine()
        self.shadow.restore(self.rig.machine.snapshot())
        self.sites = {site: Site() for site in (A, B, C)}

    def hit(self, what: str) -> None:
        self.hits[what] = self.hits.get(what, 0) + 1

    @property
    def holder(self) -> SiteId | None:
        lease = self.rig.group.lease
        return None if lease is None or lease.claim is None else lease.site

    def run(self) -> None:
        turns = (self.rotate, self.deliver, self.deliver, self.beat, self.beat, self.end, self.begin, self.image)
        for _ in range(STEPS):
            self.rng.choice(turns)()
            self.check()
        for data in self.rig.log[self.shadow.state.applied_index :]:
            self.shadow.apply(self.shadow.state.applied_index + 1, data)
        assert self.shadow.state_hash() == self.rig.machine.state_hash()

    # -- what happens -----------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """The running platform has a new key: it is sealed, durable, on its way; sometimes nobody else ever sees it."""
        if self.holder is None:
            return
        site = self.sites[self.holder]
        self.key += 1
        site.number += 1
        version = EscrowVersion(Epoch(self.rig.epoch), site.number)
        site.disk = SealedKey(version, "0a1b2c3d", b"n" * 12, b"%08d" % self.key + b"." * 32)
        self.flight.append(self.rig.put_command(site.disk, self.holder))
        del self.flight[:-FLIGHT_MAX]

    def deliver(self) -> None:
        """Any that is under way: late, again, or never; its answer may be lost."""
        if not self.flight:
            return
        put = self.rng.choice(self.flight)
        stale = self.holder != put.site or self.rig.epoch != put.sealed.version.epoch
        kept = self.rig.kept()
        outcome = self.rig.one(put)
        if self.rng.random() < 0.6:
            self.flight.remove(put)
        if stale and (kept is None or kept != put.sealed):
            assert outcome.reason is Reason.NOT_HOLDER
            assert self.rig.kept() == kept
            self.hit("former holder refused")
        elif outcome.ok and kept == put.sealed:
            self.hit("repeated")
        elif outcome.ok:
            self.hit("stored")
        else:
            assert outcome.reason is Reason.ESCROW_CONFLICT
            self.hit("overtaken")
        if outcome.ok:
            self.acknowledged = max(self.acknowledged, key_of(put.sealed))
        site = self.sites[put.site]
        if self.rng.random() < 0.7:
            site.number = max(site.number, outcome.version_next - 1)

    def beat(self) -> None:
        """A site says what it holds; the value that follows may be lost."""
        name = self.rng.choice((A, B, C))
        site = self.sites[name]
        epoch = self.rig.epoch if name == self.holder else 0
        self.rig.say(name, licensed(None if site.disk is None else site.disk.version), epoch=epoch)
        self.told[name] = 0 if site.disk is None else key_of(site.disk)
        for value in self.rig.last.outcomes[0].values:
            if self.rng.random() < 0.7:
                self.keep(site, value.item.sealed)

    def keep(self, site: Site, value: SealedKey) -> None:
        if site.disk is None or site.disk.version < value.version:
            site.disk = value
        site.number = max(site.number, value.version.version)

    def end(self) -> None:
        if self.holder is not None and self.rng.random() < 0.5:
            if self.rng.random() < 0.5:
                self.rig.end(self.holder)
            else:
                site = self.holder
                self.rig.expire()
                self.rig.say(site, licensed(self.rig.group.sites[site].report.licenses[0].held))

    def begin(self) -> None:
        """The machine alone decides whether the site may: it is granted what it asks, or not."""
        if self.rig.group.phase is not Phase.VACANT:
            return
        name = self.rng.choice((A, B, C))
        site, report = self.sites[name], self.rig.group.sites[name].report
        outcome = self.rig.one(self.rig.grant_command(name))
        if not outcome.ok:
            others = (Reason.NOT_VERIFIED_DOWN, Reason.CONFIG_NOT_CARRIED, Reason.QUARANTINED)
            assert outcome.reason in (Reason.LICENSE_NOT_CURRENT, *others)
            if outcome.reason is Reason.LICENSE_NOT_CURRENT:
                self.hit("kept back")
            return
        held = held_of(report.licenses, KEY)
        assert held is None or (site.disk is not None and site.disk.version >= held), "a site holds what it said"
        begins_with = 0 if site.disk is None else key_of(site.disk)
        assert begins_with >= self.acknowledged, f"seed {self.seed}: it begins with a dead key"
        assert begins_with >= max(self.told.values(), default=0), f"seed {self.seed}: another has a newer one"
        self.hit("began")
        said = licensed(None if site.disk is None else site.disk.version)
        assert self.rig.say(name, said, epoch=self.rig.epoch).renewal == 1
        self.told[name] = begins_with

    def image(self) -> None:
        """The other machine is installed anew, or reads what it lacks."""
        if self.rng.random() < 0.3:
            self.shadow.restore(self.rig.machine.snapshot())
            return
        for data in self.rig.log[self.shadow.state.applied_index :]:
            self.shadow.apply(self.shadow.state.applied_index + 1, data)

    def check(self) -> None:
        kept = self.rig.kept()
        version = None if kept is None else kept.version
        if self.newest is not None:
            assert version is not None
            assert version >= self.newest
            assert version.version >= self.newest.version
        self.newest = version


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    made = [World(seed) for seed in range(SEEDS)]
    for world in made:
        world.run()
    return made


def test_no_schedule_brings_a_version_back_or_begins_with_a_dead_key(worlds):
    assert max(world.key for world in worlds) > 5


@pytest.mark.parametrize("what", ["began", "kept back", "stored", "repeated", "overtaken", "former holder refused"])
def test_every_kind_of_thing_happened_often(worlds, what):
    """Or the schedules would prove nothing of it."""
    assert sum(world.hits.get(what, 0) for world in worlds) >= SEEDS // 4, what
