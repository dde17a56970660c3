"""Whole cores of two sites and a witness with a license whose key changes and a replica that never follows.

The vendor takes one key, exchanges it at each start, and at will. Sites restore the newest sealed key that they keep
before they start; a start with another key than the vendor's is a dead license.
"""

from __future__ import annotations

import random

import pytest
from holds_rig import A, B, G, Together
from site_license_rig import L

from agents.core.effects import KeepSealed, PlanKind, SealKey, StartPlan, StorePromise
from agents.core.lease_holder import NO_EPOCH
from agents.core.license import KeptKeys, Look
from agents.core.settings import LicenseSettings
from proto.commands import PutEscrow
from proto.health import SiteState
from proto.license import LicenseSpec, SealedKey
from proto.messages import EscrowPut, EscrowPutAnswer

TTL_MS = 3_000
WATCH_MS = 100
SETTLE_MS = 800
"""An exchange has got this far: read, sealed, and put or handed to the other site."""


def value_of(sealed: SealedKey) -> int:
    return int.from_bytes(sealed.box[:8], "big")


class Licensed(Together):
    group_more = {"licenses": (LicenseSettings(L, required=True, lock_delay_ms=0),)}  # noqa: RUF012 - constant
    config_more = {"licenses": (LicenseSpec(L),)}  # noqa: RUF012 - constant

    def __init__(self, **fields) -> None:
        self.valid = 0
        self.place = {A: 0, B: 0}
        self.starts: list[tuple[str, bool]] = []
        self.sealed: dict[str, list[SealedKey]] = {A: [], B: []}
        super().__init__(**fields)
        self._watch()

    # -- the vendor and the platform --------------------------------------------------------------------------

    def exchange(self, name) -> None:
        self.valid += 1
        self.place[name] = self.valid

    def _start_platform(self, name) -> None:
        kept = self._newest(name)
        if kept is not None:
            self.place[name] = value_of(kept)
        self.starts.append((name, self.place[name] == self.valid or not self._known_to(name)))
        self.exchange(name)

    def _known_to(self, name) -> bool:
        """The vendor's key of now: to a site that starts, or to the witnesses. Else the other site took it along."""
        known = [*self.sealed[name], *(one.sealed for one in self.witness.group.escrow.kept.values())]
        return self.valid in [value_of(sealed) for sealed in known]

    # -- the shells -------------------------------------------------------------------------------------------

    def _newest(self, name) -> SealedKey | None:
        return max(self.sealed[name], key=lambda one: one.version, default=None)

    def _kept(self, name) -> KeptKeys:
        newest = self._newest(name)
        return KeptKeys() if newest is None else KeptKeys(newest, opens=True, held=newest.version)

    def _watch(self) -> None:
        for name, site in self.sites.items():
            group, newest = site.group, self._newest(name)
            if site.state is SiteState.ACTIVE and group.holder.alive(site.clock.read()):
                look = Look.SAME if newest is not None and value_of(newest) == self.place[name] else Look.CHANGED
                epoch = group.holder.epoch
                act = lambda one, look=look, epoch=epoch, site=site: one.license_looked(  # noqa: E731 - one look
                    G, L, look, "", epoch, site.clock.read()
                )
                self._feed(site, site.life, act)
        self.later(WATCH_MS, self._watch)

    def restart(self, name, *, wiped: bool = False) -> None:
        site = self.sites[name]
        site.disk["sealed"] = {G: {L: self._kept(name)}}
        super().restart(name, wiped=wiped)

    def _one(self, site, effect) -> None:
        name, life = site.name, site.life

        def answer(act, wait_ms: int = 3) -> None:
            self.later(wait_ms, lambda: self._feed(site, life, act))

        if isinstance(effect, SealKey):
            if site.group.holder.epoch == effect.version.epoch != NO_EPOCH:
                box = self.place[name].to_bytes(8, "big") + b"." * 16
                self.sealed[name].append(SealedKey(effect.version, "0a1b2c3d", b"n" * 12, box))
            answer(lambda one: one.license_sealed(G, L, self._kept(name), "", site.clock.read()))
            return
        if isinstance(effect, KeepSealed):
            self.sealed[name].append(effect.item.sealed)
            answer(lambda one: one.license_kept(G, L, self._kept(name), "", site.clock.read()))
            return
        if isinstance(effect, StorePromise) and effect.escrow:
            self.sealed[name] += [item.sealed for item in effect.escrow]
            answer(lambda one: one.license_kept(G, L, self._kept(name), "", site.clock.read()), 0)
        if isinstance(effect, StartPlan) and effect.kind is PlanKind.ACTIVATE:
            self._start_platform(name)
        super()._one(site, effect)

    def _at_witness(self, site, life: int, message) -> None:
        if isinstance(message, EscrowPut):
            fields = (message.group, message.site, message.incarnation, message.claim, message.license, message.sealed)
            done = self.witness.submit(PutEscrow(*fields))
            said = EscrowPutAnswer(message.nonce, G, L, done.reason, done.stored, done.version_next)
            self._say(site, life, said)
            return
        super()._at_witness(site, life, message)

    def _say(self, site, life: int, said) -> None:
        self._carry(
            "w1", site.name, lambda: self._feed(site, life, lambda one: one.received("w1", said, site.clock.read()))
        )

    # -- looks ------------------------------------------------------------------------------------------------

    def settled(self) -> bool:
        """The active site's key is known to more than that site."""
        (name,) = [name for name, site in self.sites.items() if site.state is SiteState.ACTIVE]
        newest = self._newest(name)
        other = self._newest(B if name == A else A)
        return newest is not None and value_of(newest) == self.place[name] and other == newest

    def dead(self) -> list[str]:
        return [name for name, fine in self.starts if not fine]


def test_the_key_of_each_start_and_each_exchange_goes_to_the_next_site():
    world = Licensed()
    active = world.until_active()
    world.passes(SETTLE_MS)
    for _ in range(3):
        other = world.other(active)
        world.exchange(active.name)
        world.passes(SETTLE_MS)
        assert world.settled()
        world.part(active.name, "w1")
        world.part(active.name, other.name)
        world.passes(4 * TTL_MS)
        assert other.state is SiteState.ACTIVE
        world.part(active.name, "w1", on=False)
        world.part(active.name, other.name, on=False)
        world.passes(2 * TTL_MS)
        active = other
    assert world.dead() == []
    assert world.overlaps == []
    assert len(world.starts) == 4


def test_a_key_that_changed_while_no_witness_was_there_is_with_the_site_that_promised():
    world = Licensed()
    active = world.until_active()
    world.passes(SETTLE_MS)
    other = world.other(active)
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    for _ in range(3):
        world.exchange(active.name)
        world.passes(TTL_MS)
    assert value_of(world._newest(other.name)) == world.valid
    world.part(active.name, other.name)
    world.passes(2 * TTL_MS)
    world.part(other.name, "w1", on=False)
    world.passes(6 * TTL_MS)
    assert other.state is SiteState.ACTIVE
    assert world.dead() == []
    assert world.overlaps == []


def test_after_a_new_epoch_in_place_the_witnesses_have_what_changed_meanwhile():
    world = Licensed()
    active = world.until_active()
    world.passes(SETTLE_MS)
    epoch = active.group.holder.epoch
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    world.exchange(active.name)
    world.passes(TTL_MS)
    world.lose_witnesses(on=False)
    world.passes(3 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    assert active.group.holder.epoch > epoch
    kept = world.witness.group.escrow.kept[L].sealed
    assert (kept.version.epoch, value_of(kept)) == (active.group.holder.epoch, world.valid)
    assert world.settled()


def test_a_handover_takes_the_key_that_changed_at_its_very_end():
    world = Licensed()
    active = world.until_active()
    world.passes(SETTLE_MS)
    world.exchange(active.name)
    world.passes(WATCH_MS + 20)
    world._feed(active, active.life, lambda one: one.shutdown(active.clock.read()))
    world.passes(3 * TTL_MS)
    assert world.other(active).state is SiteState.ACTIVE
    assert world.dead() == []


@pytest.mark.parametrize("seed", range(16))
def test_whatever_is_cut_no_platform_starts_with_a_dead_key(seed):
    """Once a change is known elsewhere; one that its site took with it is nobody's to restore."""
    world, rng = Licensed(seed=seed, late_ms=15), random.Random(seed)
    world.until_active()
    world.loss = 0.05
    world.passes(SETTLE_MS)
    for _ in range(6):
        running = [name for name, site in world.sites.items() if site.state is SiteState.ACTIVE]
        if running:
            world.exchange(running[0])
        for _ in range(40):
            running = [name for name, site in world.sites.items() if site.state is SiteState.ACTIVE]
            if not running or world.settled():
                break
            world.passes(100)
        if running and not world.settled():
            continue
        fault = rng.choice(["site", "witnesses", "link", "restart", "mend"])
        name = rng.choice([A, B])
        if fault == "site":
            world.part(name, "w1")
        elif fault == "witnesses":
            world.lose_witnesses()
        elif fault == "link":
            world.part(A, B)
        elif fault == "restart":
            world.restart(name)
        else:
            world.cut = set()
        world.passes(rng.randint(200, 2 * TTL_MS))
        if rng.random() < 0.5:
            world.cut = set()
            world.passes(2 * TTL_MS)
    world.cut, world.loss = set(), 0.0
    world.passes(8 * TTL_MS)
    assert world.overlaps == []
    assert len([one for one in world.sites.values() if one.state is SiteState.ACTIVE]) == 1
    assert world.dead() == []
