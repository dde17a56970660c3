"""What a simulated site does for licenses: a platform whose key changes, its watcher, sealed keys on the disk.

The vendor (witness.sim.checkers.escrow) gives a new key at every start and now and then, and knows the old one no more.
Nothing replicates the place of the key between the sites: escrow alone brings it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agents.core.agent import SiteAgent
from agents.core.effects import KeepSealed, LookAtKey, SealKey
from agents.core.lease_holder import NO_EPOCH
from agents.core.license import KeptKeys, Look
from agents.core.license_rules import Doing, InPlace
from agents.fencing.guard_model import Behaviour
from proto.clock import ClockReading
from proto.health import SiteState
from proto.license import EscrowItem, SealedKey
from proto.units import NS_PER_MS, Epoch, GroupId, LicenseName
from witness.sim.licenses.place import TAG_BYTES, KeyPlace, key_of, number_of, opened
from witness.sim.licenses.probe import ActivityProbe

if TYPE_CHECKING:
    from witness.sim.site import SiteHost

Place = tuple[GroupId, LicenseName]
WATCH_NS = (50 * NS_PER_MS, 400 * NS_PER_MS)
EXCHANGE_NS = (10 * NS_PER_MS, 300 * NS_PER_MS)
LOOK_NS = (10 * NS_PER_MS, 300 * NS_PER_MS)
"""What a program that reads the key may take."""
LATE_NS_MAX = 6_000 * NS_PER_MS
OPERATOR_NS = (500 * NS_PER_MS, 4_000 * NS_PER_MS)
"""Until somebody looks at an activation that was refused."""
ROTATES = 0.2
"""The chance that a running platform has another key at a look."""
LARGE_BYTES = (512, 2_000, 4_000, 4_080, 4_081, 9_000)
"""A key has 4,080 at most: its box 4,096."""


@dataclass(slots=True)
class LicenseMoods:
    """Chances, 0 to 1."""

    put_lost: float = 0.0
    put_late: float = 0.0
    put_again: float = 0.0
    large: float = 0.0


class LicenseHouse:
    """Owned by one host; its keys are on the host's disk."""

    def __init__(self, host: SiteHost) -> None:
        self.moods = LicenseMoods()
        self._host = host
        self._rng = host.parts(f"license/{host.name}")
        self._all = {(group.group, one.name): one for group in host.settings.groups for one in group.licenses}
        self.probes = {place: ActivityProbe(host, place) for place in self._all}
        self._unknown = host.parts(f"license/unknown/{host.settings.site}").choice((Doing.REFUSE, Doing.RESTORE))
        """What this site's configuration says of a key in place that nobody knows."""

    @property
    def places(self) -> list[Place]:
        return list(self._all)

    def at(self, place: Place) -> KeyPlace:
        return self._host.disk.keys.setdefault(place, KeyPlace())

    def kept(self) -> dict[GroupId, dict[LicenseName, KeptKeys]]:
        """For a process that begins."""
        found: dict[GroupId, dict[LicenseName, KeptKeys]] = {}
        for group, name in self._all:
            found.setdefault(group, {})[name] = self._kept((group, name))
        return found

    def _kept(self, place: Place) -> KeptKeys:
        sealed = self.at(place).sealed
        return KeptKeys() if sealed is None else KeptKeys(sealed, True, sealed.version)

    def begin(self) -> None:
        for place in self._all:
            self._host.later(self._rng.randint(*WATCH_NS), partial(self._look, place))
            self.probes[place].begin()

    def heal(self) -> None:
        """Whoever looks after the site: what is in place is what nobody needs to ask about."""
        self.moods = LicenseMoods()
        for place, probe in self.probes.items():
            probe.heal()
            self._mend(place)

    def _mend(self, place: Place) -> None:
        """An operator puts the newest back by hand; where there is none, what the vendor gives on the telephone."""
        at = self.at(place)
        if self._judged(place) is Doing.REFUSE or at.key is None:
            at.key = key_of(self._host.judges.escrow.exchanged(place)) if at.sealed is None else opened(at.sealed)

    # -- the platform -----------------------------------------------------------------------------------------

    def _judged(self, place: Place) -> Doing:
        return self.at(place).judge(self._unknown, required=self._all[place].required).doing

    def refusal(self, group: GroupId) -> list[Behaviour]:
        """The step that a license becomes in an activation, where it fails, so that nothing is started."""
        refused = [place for place in self._all if place[0] == group and self._judged(place) is Doing.REFUSE]
        if not refused:
            return []
        self._host.hit("license-refused")
        for place in refused:
            self._host.guest.after(self._rng.randint(*OPERATOR_NS), partial(self._mend, place))
        return [Behaviour(takes_ns=5 * NS_PER_MS, exit_code=3)]

    def activates(self, group: GroupId, epoch: Epoch) -> None:
        """The first step of an activation: the newest key is in place, then the start exchanges it."""
        places = [place for place in self._all if place[0] == group]
        if any(self._judged(place) is Doing.REFUSE for place in places):
            return
        for place in places:
            at, doing = self.at(place), self._judged(place)
            if doing is Doing.RESTORE and at.sealed is not None:
                at.key = opened(at.sealed)
                self._host.hit("license-restored")
            elif doing is Doing.KEEP:
                self._host.hit("license-found-in-place")
            at.saw()
            self._judged_at_begin(place, epoch)
            self._host.later(self._rng.randint(*EXCHANGE_NS), partial(self._started, place, epoch))

    def _judged_at_begin(self, place: Place, epoch: Epoch) -> None:
        agent, found, required = self._host.agent, self.at(place).key, self._all[place].required
        escrow, key = self._host.judges.escrow, number_of(b"" if found is None else found)
        if agent is not None and agent.groups[place[0]].under_permit is not None:
            escrow.begins_alone(place, self._host.name, key, required=required)
        else:
            excused = self._host.judges.activity.excused(place[0], self._host.name)
            escrow.begins(place, self._host.name, key, epoch, required=required, excused=excused)

    def _started(self, place: Place, epoch: Epoch) -> None:
        self.exchange(place, epoch)

    def exchange(self, place: Place, epoch: Epoch) -> bool:
        """The vendor gives the running platform another key; False when it runs no more under this epoch."""
        agent = self._host.agent
        if agent is None or agent.groups[place[0]].holder.epoch != epoch:
            return False
        size = 16
        if self.moods.large and self._rng.random() < self.moods.large:
            self._host.hit("license-large")
            size = self._rng.choice(LARGE_BYTES)
        self.at(place).key = key_of(self._host.judges.escrow.exchanged(place), size)
        return True

    def _look(self, place: Place) -> None:
        self._host.later(self._rng.randint(*WATCH_NS), partial(self._look, place))
        self._look_once(place, SiteState.ACTIVE)

    def _look_last(self, place: Place) -> None:
        """The platform has stopped, and may have exchanged its key as it did."""
        self._look_once(place, SiteState.DEACTIVATING)
        self._host.hit("license-looked-last")
        self._host.feed(lambda agent, now: agent.license_looked_last(*place, now))

    def _look_once(self, place: Place, while_it_is: SiteState) -> None:
        group, name = place
        agent = self._host.agent
        if agent is None or agent.groups[group].state is not while_it_is:
            return
        epoch, at = agent.groups[group].holder.epoch, self.at(place)
        if epoch == NO_EPOCH:
            return
        if self._rng.random() < ROTATES:
            self.exchange(place, epoch)
        at.saw()
        trouble = at.trouble()
        if trouble:
            self._host.hit("license-not-sealable")
        changed = Look.SAME if at.compare() is InPlace.NEWEST else Look.CHANGED
        look = Look.FAILED if trouble else changed
        self._host.feed(lambda agent, now: agent.license_looked(group, name, look, trouble, epoch, now))

    # -- what the core asks for -------------------------------------------------------------------------------

    def perform(self, effect: SealKey | LookAtKey | KeepSealed) -> None:
        if isinstance(effect, KeepSealed):
            place = (effect.group, effect.item.license)
            self._host.hit("license-kept")
            self._host.write_down(
                lambda: self.keep(effect.group, effect.item),
                lambda agent, now: agent.license_kept(*place, self._kept(place), "", now),
            )
        elif isinstance(effect, LookAtKey):
            place = (effect.group, effect.license)
            self._host.later(self._rng.randint(*LOOK_NS), partial(self._look_last, place))
        else:
            self._seal(effect)

    def _seal(self, effect: SealKey) -> None:
        place = (effect.group, effect.license)
        at = self.at(place)
        trouble, key = at.trouble(), at.key
        if trouble or key is None:
            self._host.later(0, lambda: self._host.feed(partial(self._sealed, place, trouble)))
            return
        sealed = SealedKey(effect.version, "0a1b2c3d", self._rng.randbytes(12), key + self._rng.randbytes(TAG_BYTES))
        site, name = self._host.settings.site, self._host.name
        self._host.judges.escrow.sealed(place, site, sealed, at.before(), name)
        self._host.hit("license-sealed")

        def write() -> None:
            self.keep(effect.group, EscrowItem(effect.license, sealed))
            at.saw()

        self._host.write_down(write, partial(self._sealed, place, ""))

    def _sealed(self, place: Place, trouble: str, agent: SiteAgent, now: ClockReading) -> None:
        agent.license_sealed(*place, self._kept(place), trouble, now)

    def keep(self, group: GroupId, item: EscrowItem) -> None:
        """On the disk."""
        place = (group, item.license)
        self._host.judges.licenses.kept(group, self._host.settings.site, item.license, item.sealed.version)
        self._host.judges.escrow.handed(place, self._host.name, item.sealed)
        self.at(place).keep(item.sealed, self._host.judges.escrow.former(item.sealed))

    def tell(self, agent: SiteAgent, group: GroupId, items: tuple[EscrowItem, ...], now: ClockReading) -> None:
        """What came with a promise is on the disk."""
        for item in items:
            agent.license_kept(group, item.license, self._kept((group, item.license)), "", now)

    # -- on its way to the witnesses ----------------------------------------------------------------------------

    def posts(self, send: Callable[[], None]) -> None:
        """A put leaves: now, and perhaps again, later, or not at all."""
        rng, moods = self._rng, self.moods
        if not (moods.put_lost or moods.put_late or moods.put_again):
            send()
            return
        if _happens(rng, moods.put_lost):
            self._host.hit("license-put-lost")
            return
        if _happens(rng, moods.put_again):
            self._host.hit("license-put-again")
            self._host.events.after(rng.randint(1, LATE_NS_MAX), send)
        if _happens(rng, moods.put_late):
            self._host.hit("license-put-late")
            self._host.events.after(rng.randint(1, LATE_NS_MAX), send)
        else:
            send()


def _happens(rng: random.Random, chance: float) -> bool:
    return rng.random() < chance
