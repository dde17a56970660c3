"""The site link in the simulation: requests and answers between agents of two sites, over the same simulated network.

Rule: as agents/site_link has it. An agent asks the machine that its peer names; an answer goes back to whoever
asked. Receipt is read when the process takes the request in. What lies between two sites is cut, slow and lossy like
any other way, apart from the ways to the witnesses. A stream through another site is two ways: it breaks where either
does, and the other site carries it only while its own agent hears the witnesses.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from agents.core.agent import SiteAgent
from agents.core.effects import AnswerSite, SendSite, StorePromise, StoreSites
from proto.clock import ClockReading
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRequest, HoldVerdict
from proto.units import Nonce, SiteId

if TYPE_CHECKING:
    from witness.sim.site import SiteHost

ASKERS_KEPT = 1_024


class SiteLink:
    """Owned by one host."""

    def __init__(self, host: SiteHost) -> None:
        self._host = host
        self.peers: dict[SiteId, SiteHost] = {}
        """By whose address; filled when the world is built."""
        self._askers: OrderedDict[Nonce, SiteHost] = OrderedDict()

    def perform(self, effect: SendSite | AnswerSite | StorePromise | StoreSites) -> None:
        if isinstance(effect, SendSite):
            self.ask(effect.site, effect.message)
        elif isinstance(effect, AnswerSite):
            self.answer(effect.message)
        else:
            self._store(effect)

    def _store(self, effect: StorePromise | StoreSites) -> None:
        host, group = self._host, effect.group
        if isinstance(effect, StorePromise):
            self._store_promise(effect)
        else:
            sites = effect.sites
            host.write_down(
                lambda: host.disk.sites.update({group: sites}), lambda agent, now: agent.sites_stored(group, now)
            )

    def _store_promise(self, effect: StorePromise) -> None:
        """The holder's sealed keys first: a promise that is given vouches for them."""
        host, group = self._host, effect.group

        def write() -> None:
            for item in effect.escrow:
                host.licenses.keep(group, item)
            host.disk.promises[group] = effect.promise

        def told(agent: SiteAgent, now: ClockReading) -> None:
            host.licenses.tell(agent, group, effect.escrow, now)
            agent.promise_stored(group, now)

        host.write_down(write, told)

    def ask(self, site: SiteId, message: HoldRequest | HoldEnd) -> None:
        host, peer = self._host, self.peers.get(site)
        if peer is None:
            return
        if isinstance(message, HoldRequest):
            host.judges.holds.asked(host.name, site, message)
        else:
            host.judges.hold_ends(message.group, host.name, message.epoch)
        host.network.carry(host.name, peer.name, lambda: peer.do(lambda: peer.link.asked(host, message)))

    def asked(self, asker: SiteHost, message: HoldRequest | HoldEnd) -> None:
        self._askers[message.nonce] = asker
        while len(self._askers) > ASKERS_KEPT:
            self._askers.popitem(last=False)
        site = asker.settings.site
        if isinstance(message, HoldEnd):
            self._host.judges.holds.end_arrived(self._host.name, message)
        self._host.feed(lambda agent, now: agent.site_asked(site, message, now, now))

    def answer(self, message: HoldAnswer | HoldEndAnswer) -> None:
        host, asker = self._host, self._askers.get(message.nonce)
        if asker is None:
            return
        if isinstance(message, HoldEndAnswer):
            host.judges.holds.ended(message.group, host.name, message.epoch)
        else:
            host.hit(f"hold-{message.verdict.value}")
            if message.verdict is HoldVerdict.HELD:
                host.judges.holds.promised(host.name, asker.name, message)
        host.network.carry(host.name, asker.name, lambda: asker.do(lambda: asker.link.answered(host, message)))

    def answered(self, peer: SiteHost, message: HoldAnswer | HoldEndAnswer) -> None:
        host, site = self._host, peer.settings.site
        if isinstance(message, HoldAnswer):
            host.judges.held_by(host.name, site, message)
        host.feed(lambda agent, now: agent.site_received(site, message, now))
