"""What a simulated site does for licenses: a platform whose key changes, its watcher, sealed keys on the disk.

The vendor (witness.sim.checkers.escrow) gives a new key at every start and now and then, and knows the old one no more.
Nothing replicates the place of the key between the sites: escrow alone brings it. A box holds the key's number.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agents.core.agent import SiteAgent
from agents.core.effects import KeepSealed, LookAtKey, SealKey
from agents.core.lease_holder import NO_EPOCH
from agents.core.licenses import KeptKeys, Look
from proto.clock import ClockReading
from proto.health import SiteState
from proto.license import EscrowItem, SealedKey
from proto.units import NS_PER_MS, Epoch, GroupId, LicenseName

if TYPE_CHECKING:
    from witness.sim.site import SiteHost

Place = tuple[GroupId, LicenseName]
WATCH_NS = (50 * NS_PER_MS, 400 * NS_PER_MS)
LOOK_NS = (1 * NS_PER_MS, 30 * NS_PER_MS)
EXCHANGE_NS = (10 * NS_PER_MS, 300 * NS_PER_MS)
ROTATES = 0.2
"""The chance that a running platform has another key at a look, and that it exchanges it as it stops."""


def key_of(sealed: SealedKey) -> int:
    return int(sealed.box[:16])


class LicenseHouse:
    """Owned by one host; its sealed keys are on the host's disk."""

    def __init__(self, host: SiteHost) -> None:
        self._host = host
        self._rng = host.parts(f"license/{host.name}")
        self._place: dict[Place, int] = {}
        """The key as it stands in the platform's database."""
        self._all = [(group.group, one.name) for group in host.settings.groups for one in group.licenses]

    def kept(self) -> dict[GroupId, dict[LicenseName, KeptKeys]]:
        """For a process that begins."""
        found: dict[GroupId, dict[LicenseName, KeptKeys]] = {}
        for group, name in self._all:
            found.setdefault(group, {})[name] = self._kept((group, name))
        return found

    def _kept(self, place: Place) -> KeptKeys:
        sealed = self._host.disk.sealed.get(place)
        return KeptKeys() if sealed is None else KeptKeys(sealed, True, sealed.version)

    def begin(self) -> None:
        for place in self._all:
            self._host.later(self._rng.randint(*WATCH_NS), partial(self._look, place))

    # -- the platform -----------------------------------------------------------------------------------------

    def activates(self, group: GroupId, epoch: Epoch) -> None:
        """The first step of an activation: the newest key is restored, then the start exchanges it."""
        for place in self._all:
            if place[0] != group:
                continue
            sealed = self._host.disk.sealed.get(place)
            if sealed is not None:
                self._place[place] = key_of(sealed)
                self._host.hit("license-restored")
            self._host.judges.escrow.begins(place, self._host.name, self._place.get(place, 0))
            self._host.later(self._rng.randint(*EXCHANGE_NS), partial(self._exchange, place, epoch))

    def _exchange(self, place: Place, epoch: Epoch) -> None:
        agent = self._host.agent
        if agent is not None and agent.groups[place[0]].holder.epoch == epoch:
            self._place[place] = self._host.judges.escrow.exchanged(place)

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
        epoch, sealed = agent.groups[group].holder.epoch, self._host.disk.sealed.get(place)
        if epoch == NO_EPOCH:
            return
        if self._rng.random() < ROTATES:
            self._exchange(place, epoch)
        changed = sealed is None or key_of(sealed) != self._place.get(place, 0)
        look = Look.CHANGED if changed else Look.SAME
        self._host.feed(lambda agent, now: agent.license_looked(group, name, look, "", epoch, now))

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
        box = b"%016d" % self._place.get(place, 0) + self._rng.randbytes(16)
        sealed = SealedKey(effect.version, "0a1b2c3d", self._rng.randbytes(12), box)
        self._host.hit("license-sealed")

        def told(agent: SiteAgent, now: ClockReading) -> None:
            agent.license_sealed(*place, self._kept(place), "", now)

        self._host.write_down(lambda: self.keep(effect.group, EscrowItem(effect.license, sealed)), told)

    def keep(self, group: GroupId, item: EscrowItem) -> None:
        """On the disk; what is there is never replaced by an older one."""
        place, before = (group, item.license), self._host.disk.sealed.get((group, item.license))
        if before is None or before.version < item.sealed.version:
            self._host.disk.sealed[place] = item.sealed

    def tell(self, agent: SiteAgent, group: GroupId, items: tuple[EscrowItem, ...], now: ClockReading) -> None:
        """What came with a promise is on the disk."""
        for item in items:
            agent.license_kept(group, item.license, self._kept((group, item.license)), "", now)
